"""All cases that `make operators` measures, whoever wrote them."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import pairwise

from parity.core.cli import InputError
from parity.operators.case import Case
from parity.operators.causes import CAUSES as KNOWN
from parity.operators.forms import with_forms
from parity.operators.onnx_cases import onnx_cases
from parity.operators.variations.cases import variations


def onnx_tests() -> Iterator[Case]:
    """Yield ONNX's own tests in all their forms."""
    return with_forms(onnx_cases())


SOURCES: tuple[Callable[[], Iterable[Case]], ...] = (onnx_tests, variations)
CAUSES: Mapping[str, str] = {
    one.key: one.text for one in KNOWN
}  # what OpenCV does wrong, in words, by the `cause` of a case


def all_cases() -> list[Case]:
    """Return the cases of all sources, sorted by operator.

    Raises InputError where two have the same name and form.
    """
    cases = sorted((case for source in SOURCES for case in source()), key=_place)
    keys = [_place(case)[1:] for case in cases]
    for one, other in pairwise(keys):
        if one == other:
            raise InputError(f"{' '.join(one)}: two cases have this name and form")
    return cases


def _place(case: Case) -> tuple[str, str, str]:
    return case.operator, case.name, case.form
