"""Write a reproducer of a cause: of the cases that show it, the smallest one, reduced."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from onnx import ModelProto

from parity.faults.reproducer import Reproducer, Suspect, find_symptom, write_reproducer
from parity.faults.settings import FILE_LIMITS, FILE_OPENCV, FILE_PERTURB, on_cpu
from parity.graphs.graph import output_names, save
from parity.operators.case import Case
from parity.operators.causes import Cause, causes_of

FOLDER = Path("reproducers/operators")
MINUTES = 1.0  # to reduce a graph of a few nodes
TRIED = 12  # cases per engine
LOUD = ("refused", "error")  # what a cause also leads to, elsewhere


def write_cause(cause: Cause, cases: Iterable[Case], folder: Path = FOLDER) -> Reproducer | None:
    """Write the reproducer of a cause to a folder of its name; None where no case shows it in one
    of the cause's engines.

    A case counts where ONNX Runtime's answers are finite and precise: the script of a reproducer
    compares with them.
    """
    probing = [case for case in cases if case.cause == cause.key]
    # Special values may show another fault, where the cause does not need them.
    probing.sort(key=lambda case: (case.operator != cause.operator, _is_special(case), _size(case)))
    with TemporaryDirectory() as temporary:
        path = Path(temporary) / "model.onnx"
        for engine in cause.engines:
            for case, model in _by_output(probing[:TRIED]):
                save(model, path)
                suspect = _suspect(cause, case, path, engine, folder / cause.key)
                found = find_symptom(suspect)
                if found is None or found[0].kind in LOUD:
                    continue
                if written := write_reproducer(suspect, *found, []):
                    return written
    return None


def _size(case: Case) -> tuple[int, int]:
    (feeds,) = case.inputs
    return len(case.model.graph.node), sum(value.nbytes for value in feeds.values())


def _is_special(case: Case) -> bool:
    """Whether an input has a value that is not finite, or is denormal."""
    (feeds,) = case.inputs
    floats = [value for value in feeds.values() if value.dtype.kind == "f"]
    return any(
        (~np.isfinite(value) | ((value != 0) & (abs(value) < np.finfo(value.dtype).tiny))).any()
        for value in floats
    )


def _by_output(cases: Iterable[Case]) -> Iterator[tuple[Case, ModelProto]]:
    """Yield each case with each of its outputs as the first, the one that a reproducer compares."""
    for case in cases:
        for number in range(len(output_names(case.model))):
            model = ModelProto()
            model.CopyFrom(case.model)
            outputs = list(model.graph.output)
            del model.graph.output[:]
            model.graph.output.extend(outputs[number:] + outputs[:number])
            yield case, model


def _suspect(cause: Cause, case: Case, path: Path, engine: str, folder: Path) -> Suspect:
    return Suspect(
        name=case.name,
        path=path,
        feeds={name: np.ascontiguousarray(value) for name, value in case.inputs[0].items()},
        source=f"the drawn inputs of {case.name}",
        opencv=on_cpu(FILE_OPENCV, engine),
        perturb=FILE_PERTURB,
        limit=FILE_LIMITS.rel,
        minutes=MINUTES,
        folder=folder,
        keeps=lambda model, feeds: causes_of(model, feeds)[:1] == [cause],
    )
