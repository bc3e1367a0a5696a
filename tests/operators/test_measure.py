import numpy as np
import pytest
from helpers.operators import X, case

from parity.backends.contract import BackendFailure
from parity.operators.engine import Run
from parity.operators.measure import make_references, measure_cases
from parity.operators.reference import Output, Reference

CASE = case()
KEY = ("own/relu", "as is")
REFERENCES = {KEY: Reference([[Output((np.maximum(X, 0),), 1e-6)]])}
RIGHT = [Run([[np.maximum(X, 0)]])]
CRASHED = [Run([], BackendFailure("crashed", "SIGSEGV"))]
UNSTABLE = [*RIGHT, *CRASHED]


class Engine:
    """In place of an engine: what each run of a case gives, and how many there were."""

    def __init__(self, runs: list[Run]) -> None:
        self.runs, self.count = runs, 0

    def run(self, _) -> list[Run]:
        self.count += 1
        return self.runs


def measured(engine: Engine, second: Engine) -> dict:
    return measure_cases([CASE], REFERENCES, engine, second)[KEY]


@pytest.mark.parametrize("first", [CRASHED, UNSTABLE])
def test_what_an_earlier_case_may_have_caused_is_confirmed(first):
    assert measured(Engine(first), Engine(RIGHT))["verdict"] == "right"
    assert measured(Engine(first), Engine(CRASHED))["verdict"] == "crashed"


def test_what_is_right_runs_once():
    second = Engine(CRASHED)
    assert measured(Engine(RIGHT), second)["verdict"] == "right" and not second.count


def test_what_opencv_cannot_be_asked_does_not_run():
    strings = case("y = Identity(x)", inputs="string[1] x", outputs="string[1] y")
    cells = measure_cases([strings], make_references([strings]), Engine([]), Engine([]))
    assert cells[KEY]["verdict"] == "not applicable"
