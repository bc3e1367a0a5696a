"""Which times are shown: those of this machine, and no ratio for wrong answers."""

from dataclasses import replace

from helpers.results import BENCHMARK, SUM, every_pair, faithful, on_another_machine, without

from parity.core.machine import identity
from parity.evaluation.results import Results
from parity.evaluation.shown_times import of_this_machine, time_notes, with_earned_ratio
from parity.evaluation.verdict import Limits, Verdict, judge

WRONG = faithful(parity={SUM: {"rel": 0.5}})


def verdict(results: Results) -> Verdict:
    return judge(results, Limits(rel=1e-4, agreement=99.9, accuracy_loss=0.1), 0.01)


def test_times_of_this_machine_stay_and_those_of_another_go():
    assert of_this_machine(faithful(), identity()) == faithful()
    foreign = of_this_machine(on_another_machine(faithful()), identity())
    assert (foreign.benchmark, foreign.medians) == (None, {})
    assert foreign == faithful().without_times("measured on another machine")


def test_times_without_an_identity_are_of_another_machine():
    unnamed = replace(BENCHMARK, environment={"cpu": "a processor"})
    assert of_this_machine(faithful(benchmark=unnamed), identity()).benchmark is None


def test_only_a_model_that_fails_loses_its_ratio():
    assert with_earned_ratio(faithful(), verdict(faithful())) == faithful()
    vacuous = faithful(parity=every_pair(spread=0.0))
    assert with_earned_ratio(vacuous, verdict(vacuous)) == vacuous
    found = with_earned_ratio(WRONG, verdict(WRONG))
    assert found.benchmark.ratio is None and found.medians == WRONG.medians


def test_the_notes_say_why_a_ratio_is_missing():
    wrong = with_earned_ratio(WRONG, verdict(WRONG))
    assert time_notes([faithful(), wrong, replace(wrong, model="two")]) == [
        "squeezenet1_1, two: no ratio of times: wrong answers, see the verdict."
    ]
    refused = without("opencv")
    assert time_notes([faithful(), refused]) == []
