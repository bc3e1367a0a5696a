"""The report on a checked file: lines for a person, and JSON for a script."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict

import cv2
import onnx
import onnxruntime

from parity.checking.check import Checked
from parity.checking.engine import EngineResult
from parity.checking.known import Known, release
from parity.core.markdown import NOTHING, difference_text, markdown_table, ratio_text
from parity.networks.external_data import shown

HEADER = ["engine", "verdict", "owner", "rel", "limit", "exact", "where"]
LONGEST = 300  # characters of a message
HUGE = 1e6  # times what rounding explains: no digits needed


def report_lines(checked: Checked) -> Iterator[str]:
    """Yield the report: what is known, the verdict of each engine, the nodes at fault, and what to
    do."""
    graph = checked.model.graph
    yield f"{checked.path}: {len(graph.node)} nodes; {_versions_text()}"
    yield from _known_lines(checked)
    if checked.cases is None:
        yield f"ONNX Runtime cannot read the file: {checked.refusal[:LONGEST]}"
        yield "verdict: the file is wrong (owner: export); no engine was tried"
        return
    shapes = ", ".join(str(case.blob.shape) for case in checked.cases.cases)
    yield f"run on {checked.source}: {shapes}"
    for shape, reason in checked.cases.refused:
        yield f"not run: {shape}, which the file promises and ONNX Runtime refuses: {reason[:100]}"
    yield ""
    rows = [HEADER, *(_row(one) for one in checked.results)]
    yield markdown_table(rows, left=3).rstrip()
    yield ""
    for result in checked.results:
        if not result.passes:
            yield from _failure_lines(result)
    yield _verdict_line(checked)
    if checked.mend:
        yield f"try: {checked.mend}"


def _versions_text() -> str:
    versions = f"OpenCV {cv2.__version__}, ONNX Runtime {onnxruntime.__version__}"
    return f"{versions}, onnx {onnx.__version__}"


def _known_lines(checked: Checked) -> Iterator[str]:
    here = [one for one in checked.known if release(one.opencv) == release(cv2.__version__)]
    if checked.is_recorded:
        yield from _known_of(here, f"known of OpenCV {cv2.__version__}")
    else:
        yield f"known of OpenCV {cv2.__version__}: the records do not have this version"
    if checked.upgrade:
        after = [one for one in checked.known if one.opencv == checked.upgrade]
        yield from _known_of(after, f"known of an upgrade to OpenCV {checked.upgrade}")


def _known_of(known: Sequence[Known], title: str) -> Iterator[str]:
    if not known:
        yield f"{title}: nothing against this file"
        return
    yield f"{title}:"
    engines: dict[str, list[str]] = {}
    for one in known:
        engines.setdefault(one.text, []).append(one.engine)
    for text, names in engines.items():
        yield f"  {', '.join(names)}: {text}"


def _row(result: EngineResult) -> list[str]:
    cells = [result.engine, result.verdict, result.owner or NOTHING]
    cells += [difference_text(result.rel), difference_text(result.limit)]
    is_huge = (result.exactness or 0) > HUGE
    exact = difference_text(result.exactness) if is_huge else ratio_text(result.exactness)
    return [*cells, exact, result.where]


def _failure_lines(result: EngineResult) -> Iterator[str]:
    yield f"{result.engine}: {result.verdict}, {result.where}: {result.message[:LONGEST]}"
    if result.passed:
        yield f"  right before: {', '.join(map(str, result.passed))}"
    if result.node:
        yield f"  node: {shown(result.node.name)} ({result.node.operator}), {result.node.evidence}"
    if result.note:
        yield f"  {result.note}"


def _verdict_line(checked: Checked) -> str:
    others = [one.engine for one in checked.results if one.engine != checked.decides]
    why = f"the engine {checked.decides}"
    if others:
        why += ", which runs this file unless another is named,"
    return f"verdict: {'right' if checked.passes else 'not right'}: {why} decides"


def report_json(checked: Checked) -> dict:
    """Return the report as JSON's objects."""
    cases = checked.cases
    return {
        "model": str(checked.path),
        "right": checked.passes,
        "decides": checked.decides,
        "opencv": cv2.__version__,
        "upgrade": checked.upgrade,
        "onnxruntime": onnxruntime.__version__,
        "input": checked.source,
        "blobs": [list(case.blob.shape) for case in cases.cases] if cases else [],
        "not_run": {str(shape): reason for shape, reason in cases.refused} if cases else {},
        "owner": _owner(checked),
        "refusal": checked.refusal,
        "engines": {one.engine: _engine_json(one) for one in checked.results},
        "known": [asdict(one) | {"nodes": list(one.nodes)} for one in checked.known],
        "mend": checked.mend,
    }


def _owner(checked: Checked) -> str | None:
    if checked.cases is None:
        return "export"
    return next(one.owner for one in checked.results if one.engine == checked.decides)


def _engine_json(result: EngineResult) -> dict:
    content = asdict(result)
    del content["engine"], content["unread"]
    return content | {"passed": [list(shape) for shape in result.passed]}
