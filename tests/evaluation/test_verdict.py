"""The verdict: what fails and whose fault it is, what passes, what could not have failed."""

import json
import math
from dataclasses import replace

import pytest
from helpers.params import changed, write_params
from helpers.refusals import refused
from helpers.results import (
    ENGINE,
    EQUAL,
    EXACT,
    EXPORT,
    NEVER_RAN,
    NO_EXACT_ANSWER,
    REFUSED,
    SAME_RUN,
    STABLE,
    SUM,
    every_pair,
    faithful,
    onnx_only,
    without,
)

from parity.core.params import load_params
from parity.evaluation.results import Results, StabilityRun
from parity.evaluation.verdict import (
    Limits,
    Verdict,
    exceeded,
    gate_limits,
    is_vacuous,
    judge,
    parse_verdict,
    with_ties,
)

CLS, SEG = "squeezenet1_1", "fcn_resnet50"
LIMITS, SPREAD = Limits(rel=1e-4, agreement=99.9, accuracy_loss=0.1), 0.01
EXACTNESS = replace(LIMITS, exactness=10.0)
NAN = math.nan


def verdict_on(results: Results) -> Verdict:
    return judge(results, LIMITS, SPREAD)


def owners(results: Results) -> list[tuple[str, str, str]]:
    """Owner, subject and figure of each failure; the verdict must be FAIL for exactly these."""
    verdict = verdict_on(results)
    assert verdict.verdict == ("FAIL" if verdict.failures else "pass")
    return [(one.owner, one.subject, one.figure) for one in verdict.failures]


def message_of(results: Results) -> str:
    (failure,) = verdict_on(results).failures
    return failure.words


# Owners


def test_a_faithful_model_passes_with_its_figures():
    verdict = verdict_on(faithful(parity={SUM: {"rel": 3e-6}}))
    assert (verdict.verdict, verdict.owner) == ("pass", "-")
    assert (verdict.rel, verdict.agreement, verdict.accuracy_loss) == (3e-6, 100, 0)
    assert not verdict.failures and not verdict.ties and verdict.vacuous is None


@pytest.mark.parametrize("bad", [{"rel": 1.1e-4}, {"agreement": 99.8}], ids=["rel", "agreement"])
@pytest.mark.parametrize(("pair", "owner"), [(EXPORT, "export"), (ENGINE, "engine")])
def test_the_pair_that_deviates_owns_the_deviation_of_the_sum(pair, owner, bad):
    (figure,) = bad
    assert owners(faithful(parity={pair: bad, SUM: bad})) == [(owner, pair, figure)]


def test_both_steps_own_what_both_break():
    found = owners(faithful(parity=every_pair(rel=1.0)))
    assert found == [("export", EXPORT, "rel"), ("engine", ENGINE, "rel")]
    broken = {EXPORT: {"rel": 1.0}, ENGINE: {"rel": 1.0}}
    assert verdict_on(faithful(parity=broken)).owner == "export, engine"


@pytest.mark.parametrize("bad", [{"rel": 1.1e-4}, {"agreement": 99.8}], ids=["rel", "agreement"])
def test_steps_within_the_limit_own_together_what_their_sum_exceeds(bad):
    (figure,) = bad
    assert owners(faithful(parity={SUM: bad})) == [("export and engine", SUM, figure)]


def test_without_onnx_runtime_nobody_can_tell_export_and_engine_apart():
    results = without("onnxruntime", parity={SUM: replace(EQUAL, rel=1.0)})
    assert ("export or engine", SUM, "rel") in owners(results)


@pytest.mark.parametrize(
    "figures",
    [{"rel": 1e-4}, {"agreement": 99.9}, {"agreement": 99.8, "ties": 0.1}],
    ids=["rel", "agreement", "ties"],
)
def test_a_figure_at_its_limit_passes(figures):
    assert owners(faithful(parity=every_pair(**figures))) == []


def test_a_failure_names_pair_figure_and_limit():
    assert message_of(faithful(parity={ENGINE: {"rel": 0.52}})) == (
        "OpenCV against ONNX Runtime: rel 0.52, limit 0.0001"
    )
    assert message_of(faithful(parity={EXPORT: {"agreement": 97.5}})) == (
        "ONNX Runtime against PyTorch: agreement 97.500 %, limit 99.9 %"
    )


def test_an_agreement_just_below_a_limit_of_100_is_not_rounded_up_to_it():
    limits = replace(LIMITS, agreement=100.0)
    verdict = judge(faithful(parity={ENGINE: {"agreement": 99.99996}}), limits, SPREAD)
    (failure,) = verdict.failures
    assert failure.words.endswith("agreement 99.999 %, limit 100 %")


def test_a_model_that_is_an_onnx_file_has_an_engine_alone():
    assert owners(onnx_only()) == []
    assert owners(onnx_only(rel=1.0)) == [("engine", ENGINE, "rel")]
    assert owners(onnx_only({"opencv": 80.0})) == [("engine", ENGINE, "accuracy_loss")]
    nonfinite = replace(onnx_only(), nonfinite={"onnxruntime": 3, "opencv": 3})
    assert owners(nonfinite) == [("model", "onnxruntime", "nonfinite")]


# Exactness


EXPORT_AND_ENGINE = [("export", "onnxruntime"), ("engine", "opencv")]


@pytest.mark.parametrize(
    ("ratio", "expected"),
    [
        ({"onnxruntime": 1.0, "opencv": 10.0}, []),
        ({"onnxruntime": 1.0, "opencv": 10.1}, [("engine", "opencv")]),
        ({"onnxruntime": 48.0, "opencv": 48.0}, [("export", "onnxruntime")]),
        ({"onnxruntime": 48.0, "opencv": 481.0}, EXPORT_AND_ENGINE),
        ({"onnxruntime": 48.0, "opencv": 1.0}, []),
        ({"onnxruntime": None, "opencv": 48.0}, [("export or engine", "opencv")]),
        ({"opencv": 48.0}, [("export or engine", "opencv")]),
        ({"onnxruntime": 48.0}, []),
        ({"onnxruntime": 1.0, "opencv": None}, []),
        ({}, []),
    ],
)
def test_what_rounding_does_not_explain_fails_with_its_owner(ratio, expected):
    results = faithful(exact=replace(EXACT, ratio=ratio))
    found = judge(results, EXACTNESS, SPREAD).failures
    assert [(one.owner, one.subject) for one in found] == expected
    assert {(one.figure, one.limit) for one in found} <= {("exactness", 10.0)}
    assert judge(results, EXACTNESS, SPREAD).exactness == ratio.get("opencv")


def test_an_onnx_file_has_an_engine_alone_to_be_inexact():
    results = replace(onnx_only(), exact=replace(EXACT, ratio={"opencv": 48.2}))
    (failure,) = judge(results, EXACTNESS, SPREAD).failures
    assert (failure.owner, failure.words) == (
        "engine",
        "OpenCV: 48.2 times as far from the exact answer as ONNX Runtime is (limit 10): rounding"
        " does not explain it",
    )


def test_an_unknown_exactness_is_not_judged():
    assert judge(faithful(exact=NO_EXACT_ANSWER), EXACTNESS, SPREAD).verdict == "pass"
    assert owners(faithful(exact=replace(EXACT, ratio={"opencv": 1e9}))) == []


# Accuracy


@pytest.mark.parametrize(
    ("accuracy", "expected"),
    [
        ({"onnxruntime": 89.0, "opencv": 89.0}, [("export", EXPORT)]),
        ({"opencv": 89.0}, [("engine", ENGINE)]),
        ({"onnxruntime": 89.0, "opencv": 88.0}, [("export", EXPORT), ("engine", ENGINE)]),
        ({"onnxruntime": 89.92, "opencv": 89.84}, [("export and engine", SUM)]),
        ({"onnxruntime": 89.0}, [("export", EXPORT)]),
        ({"onnxruntime": 91.0}, []),
        ({"opencv": 95.0}, []),
        ({"opencv": 89.9}, []),
        ({"pytorch": None, "onnxruntime": None, "opencv": None}, []),
    ],
    ids=[
        "export",
        "engine",
        "both",
        "together",
        "regained",
        "gained and lost",
        "gain",
        "at the limit",
        "no truth",
    ],
)
def test_the_step_that_lost_accuracy_owns_the_loss(accuracy, expected):
    found = owners(faithful(accuracy))
    assert found == [(owner, pair, "accuracy_loss") for owner, pair in expected]


def test_lost_accuracy_is_given_in_points_of_its_metric():
    assert message_of(faithful({"opencv": 88.5})) == (
        "OpenCV against ONNX Runtime: acc@1 88.50 % after 90.00 %, a loss of 1.5 points, limit 0.1"
    )


# Ties


def test_ties_count_as_the_same_and_are_reported():
    ties = {"agreement": 99.0, "ties": 1.0}
    verdict = verdict_on(faithful(parity={ENGINE: ties, SUM: ties}))
    assert (verdict.verdict, verdict.agreement) == ("pass", 100)
    assert [(one.owner, one.subject) for one in verdict.ties] == [("noise", SUM), ("noise", ENGINE)]
    assert verdict.ties[0].words == (
        "OpenCV against PyTorch: agreement 99.000 %, limit 99.9 %, but 1 % are ties"
    )


def test_flips_of_a_broken_model_are_no_ties():
    broken = {"rel": 0.5, "agreement": 20.0, "ties": 79.0}
    verdict = verdict_on(faithful(parity={ENGINE: broken, SUM: broken}))
    assert verdict.agreement == 20 and not verdict.ties
    messages = [one.words for one in verdict.failures if one.figure == "agreement"]
    assert messages == ["OpenCV against ONNX Runtime: agreement 20.000 %, limit 99.9 %"]


def test_too_few_ties_do_not_save_a_model():
    results = faithful(parity={ENGINE: {"agreement": 99.0, "ties": 0.5}})
    assert owners(results) == [("engine", ENGINE, "agreement")]
    assert message_of(results).endswith("99.500 %, limit 99.9 % (with 0.5 % ties)")
    assert not verdict_on(results).ties


def test_a_sum_with_ties_at_the_limit_is_within_it_wherever_a_limit_is_judged():
    """In floating point 99.8 + 0.1 < 99.9."""
    parity = replace(EQUAL, agreement=99.8, ties=0.1)
    assert with_ties(parity, LIMITS) == 99.9
    assert exceeded(parity, LIMITS) is None
    assert verdict_on(faithful(parity=every_pair(agreement=99.8, ties=0.1))).verdict == "pass"


# Limits of a single pair


@pytest.mark.parametrize(
    ("figures", "excess"),
    [
        ({}, None),
        ({"rel": 0.001}, "rel 0.001, limit 0.0001"),
        ({"rel": math.inf}, "rel inf, limit 0.0001"),
        ({"rel": 0.5, "agreement": 20.0, "ties": 79.0}, "rel 0.5, limit 0.0001"),
        ({"agreement": 99.0}, "agreement 99.000 %, limit 99.9 %"),
        ({"rel": NAN, "linf": NAN}, "rel is not a number, limit 0.0001"),
        ({"rel": None, "linf": None}, "rel is not a number, limit 0.0001"),
        ({"rel": NAN, "linf": 3.0}, "the reference's logits are all 0, the other's up to 3"),
        ({"rel": NAN, "linf": 0.0}, None),
        ({"agreement": NAN}, "agreement is not a number, limit 99.9 %"),
        ({"agreement": None}, "agreement is not a number, limit 99.9 %"),
    ],
)
def test_what_exceeds_its_limit_is_named(figures, excess):
    assert exceeded(replace(EQUAL, **figures), LIMITS) == excess


# NaN and infinity


@pytest.mark.parametrize(
    ("nonfinite", "expected"),
    [
        ({"pytorch": 2, "onnxruntime": 2, "opencv": 2}, [("model", "pytorch")]),
        ({"onnxruntime": 2, "opencv": 2}, [("export", "onnxruntime")]),
        ({"opencv": 2}, [("engine", "opencv")]),
        ({"pytorch": 1, "opencv": 9}, [("model", "pytorch"), ("engine", "opencv")]),
    ],
)
def test_nan_belongs_to_the_first_backend_that_has_it(nonfinite, expected):
    """Those that follow got it from there, and no figure of their pairs is defined."""
    bad = {"l1": None, "linf": None, "rel": None, "agreement": 98.0, "spread": None}
    touched = {
        pair: bad for pair in (SUM, EXPORT, ENGINE) if any(name in pair for name in nonfinite)
    }
    results = faithful(nonfinite=nonfinite, parity=touched)
    assert owners(results) == [(owner, backend, "nonfinite") for owner, backend in expected]
    assert "NaN or infinity in the outputs of" in verdict_on(results).failures[0].words


def test_a_figure_that_is_not_a_number_fails():
    results = faithful(parity={ENGINE: {"l1": None, "linf": None, "rel": None}})
    assert owners(results) == [("engine", ENGINE, "rel")]
    assert "rel is not a number" in message_of(results)
    undefined = faithful(parity={EXPORT: {"agreement": None}})
    assert owners(undefined) == [("export", EXPORT, "agreement")]


def test_logits_where_the_reference_has_only_zeros_fail():
    results = faithful(parity={ENGINE: {"linf": 3.0, "rel": None, "spread": 0.0}})
    assert owners(results) == [("engine", ENGINE, "rel")]
    assert "the reference's logits are all 0, the other's up to 3" in message_of(results)


# Failures and instability


@pytest.mark.parametrize("kind", ["refused", "error", "crashed", "timeout", "shape"])
@pytest.mark.parametrize(("backend", "owner"), [("opencv", "engine"), ("onnxruntime", "export")])
def test_a_backend_that_failed_fails_with_its_message(backend, owner, kind):
    results = without(backend, kind, "ended by\nSIGSEGV")
    assert owners(results) == [(owner, backend, kind)]
    assert message_of(results).endswith(": ended by SIGSEGV")
    assert (verdict_on(results).rel is None) == (backend == "opencv")


def test_a_failed_reference_leaves_nothing_to_compare():
    failed = {"parity": {}, "scores": {}, "nonfinite": {}, "stability": NEVER_RAN}
    failures = {"onnxruntime": REFUSED, "opencv": REFUSED}
    found = owners(replace(onnx_only(), failures=failures, **failed))
    assert found == [("model", "onnxruntime", "refused"), ("engine", "opencv", "refused")]


def test_an_unstable_engine_is_described_by_the_runs_that_differ():
    crashed = {"kind": "crashed", "message": "ended by SIGABRT"}
    runs = (
        SAME_RUN,
        StabilityRun("MALLOC_PERTURB_=1", same=False, rel=1e9, failure=None),
        StabilityRun("MALLOC_PERTURB_=165", same=False, rel=None, failure=crashed),
        StabilityRun("MALLOC_PERTURB_=85", same=False, rel=None, failure=None),
    )
    results = faithful(stability=replace(STABLE, stable=False, runs=runs))
    assert owners(results) == [("engine", "opencv", "unstable")]
    message = message_of(results)
    assert "MALLOC_PERTURB_=1 differs (rel 1.0e+09)" in message and "again" not in message
    assert "MALLOC_PERTURB_=165 failed (crashed: ended by SIGABRT)" in message
    assert "MALLOC_PERTURB_=85 differs (rel not a number)" in message


# Vacuous


@pytest.mark.parametrize(
    ("results", "why"),
    [
        (
            faithful(parity=every_pair(spread=0.009)),
            ["outputs of PyTorch differ between images by only 0.009", "`weights: probe`"],
        ),
        (
            faithful(parity=every_pair(spread=None)),
            ["only one image", "`parity.images`", "`limit`"],
        ),
        (
            faithful(parity=every_pair(linf=0.0, rel=None, spread=0.0)),
            ["all outputs of PyTorch are 0", "`weights: probe`"],
        ),
        (onnx_only(spread=0.009), ["the outputs of ONNX Runtime differ", "trained weights"]),
        (
            faithful(stability=NEVER_RAN),
            ["OpenCV failed in every run", "metrics/stability/squeezenet1_1.json"],
        ),
        (replace(faithful(), parity={}), ["no two backends"]),
    ],
    ids=["alike", "single image", "zero", "onnx only", "stability", "no pair"],
)
def test_a_comparison_that_could_not_fail_is_vacuous_and_says_what_to_do(results, why):
    verdict = verdict_on(results)
    assert (verdict.verdict, verdict.owner) == ("vacuous", "-")
    assert [text for text in why if text not in verdict.vacuous] == []


def test_what_fails_is_not_called_vacuous():
    bad = {"spread": 0.009, "rel": 1.0}
    verdict = verdict_on(faithful(parity={ENGINE: bad, SUM: bad}))
    assert (verdict.verdict, verdict.vacuous) == ("FAIL", None)


def test_the_least_spread_is_enough():
    assert verdict_on(faithful(parity={SUM: {"spread": SPREAD}})).verdict == "pass"
    assert not is_vacuous(replace(EQUAL, spread=SPREAD), SPREAD)
    for undefined in ({"spread": NAN}, {"rel": NAN}):
        assert is_vacuous(replace(EQUAL, **undefined), SPREAD)


# Limits in params.yaml


def test_an_override_changes_one_limit_of_one_model(project):
    models = {
        CLS: changed({})["models"][CLS],
        SEG: {"task": "segmentation", "preprocess": "voc", "weights": "random"},
    }
    write_params(
        project,
        {
            "models": models,
            "gate.limits.segmentation.agreement": 99.5,
            "gate.overrides": {CLS: {"rel": 0.002}},
        },
    )
    params = load_params()
    assert gate_limits(params, CLS) == Limits(rel=0.002, agreement=99.9, accuracy_loss=0.1)
    assert gate_limits(params, SEG) == Limits(rel=1e-4, agreement=99.5, accuracy_loss=0.1)
    known = Limits(rel=0.002, agreement=99.9, accuracy_loss=0.1, exactness=10.0)
    assert gate_limits(params, CLS, exactness_known=True) == known
    known = Limits(rel=1e-3, agreement=99.5, accuracy_loss=0.1, exactness=10.0)
    assert gate_limits(params, SEG, exactness_known=True) == known
    bad = faithful(parity={ENGINE: {"rel": 0.001}})
    assert judge(bad, gate_limits(params, CLS), SPREAD).verdict == "pass"


@pytest.mark.parametrize(
    ("key", "value", "parts"),
    [
        ("gate.overrides", {"squeezenet": {"rel": 1e-3}}, ("overrides.squeezenet: no such", CLS)),
        ("gate.overrides", {CLS: {"rell": 1e-3}}, (f"overrides.{CLS}.rell: unknown", "mean rel")),
        ("gate.overrides", {CLS: {"agreement": 101}}, (f"{CLS}.agreement: found 101", "100")),
        ("gate.limits.classification.rel", -1, ("gate.limits.classification.rel: found -1",)),
        ("gate.spreat", 1, ("gate.spreat: unknown key",)),
        ("models.gate", changed({})["models"][CLS], ("models.gate: this name is taken",)),
        ("models.coverage", changed({})["models"][CLS], ("models.coverage: this name is taken",)),
        ("models.overview", changed({})["models"][CLS], ("models.overview: this name is taken",)),
    ],
)
def test_a_wrong_limit_or_name_is_refused_in_one_line(project, key, value, parts):
    write_params(project, {key: value})
    with refused("params.yaml: ", *parts):
        load_params()


# JSON


def test_a_verdict_comes_back_from_its_file_as_it_was():
    verdict = verdict_on(
        faithful(parity={ENGINE: {"rel": 0.5}, SUM: {"agreement": 99.0, "ties": 1.0}})
    )
    assert verdict.failures and verdict.ties
    assert parse_verdict(json.loads(json.dumps(verdict.content()))) == verdict
