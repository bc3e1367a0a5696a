import pytest
from helpers.operators import case
from helpers.refusals import refused

from parity.operators import sources
from parity.operators.sources import all_cases


@pytest.fixture
def put(monkeypatch):
    """Put sources in place of ONNX's tests, which take seconds to collect."""

    def put(*own):
        monkeypatch.setattr(sources, "SOURCES", tuple(lambda one=one: one for one in own))

    return put


def test_the_cases_of_all_sources_are_sorted_by_operator(put):
    put([case(operator="Relu")], [case(operator="Abs", name="own/abs")])
    assert [one.operator for one in all_cases()] == ["Abs", "Relu"]


def test_two_cases_of_one_name_are_refused(put):
    put([case()], [case()])
    with refused("own/relu as is: two cases have this name and form"):
        all_cases()
