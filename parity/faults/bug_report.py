"""Report a fault of OpenCV in the form that its maintainers ask for."""

import platform
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version

import cv2
import numpy as np
from onnx import ModelProto

from parity.faults.symptom import Symptom
from parity.faults.workaround import COLUMNS, PASSES
from parity.graphs.difference import statistics_text
from parity.graphs.graph import output_names
from parity.graphs.provenance import describe_node
from parity.graphs.values import all_values

UNINITIALIZED = "the output depends on uninitialized memory"
DESCRIPTION = "### Detailed description"
TIME = r"[\d.]+ ms|@[\d.]+\]"  # measured, and in OpenCV's log: [ WARN:0@0.039]
# What an unstable fault shows changes from run to run: NaN, infinity or another number, and the
# attempt of the script that shows it.
RUN = ("- seen: ", "seen: ", "with MALLOC_PERTURB_=", "largest difference / ")
UNSTABLE = r"\bunstable, [^)]*"
NUMBER = r"-?\b(\d+(\.\d+)?(e[+-]?\d+)?|nan|inf)\b"


@dataclass
class Evidence:
    """A small graph that shows a fault of the `original` model.

    `expected` is its output for `feeds` by ONNX Runtime, `seen` that of `engine`, None where there
    was none. `symptoms` say what is wrong in each engine, `whole` what was wrong with the original.
    """

    name: str
    original: ModelProto
    whole: Symptom
    engine: str
    model: ModelProto
    feeds: dict[str, np.ndarray]
    expected: np.ndarray
    seen: np.ndarray | None
    symptoms: Mapping[str, Symptom | None]

    @property
    def symptom(self) -> Symptom:
        return self.symptoms[self.engine]


def report(evidence: Evidence, printed: str, workarounds: str) -> str:
    """Return the report in Markdown; `printed` is the output of the reproducing script."""
    engines = evidence.symptoms.items()
    return "\n".join(
        [
            f"# {title(evidence)}",
            "",
            "### System Information",
            "",
            *system(evidence),
            "",
            DESCRIPTION,
            "",
            *description(evidence),
            "",
            "The graph:",
            "",
            *nodes(evidence),
            "",
            f"Engines, OpenCV {cv2.__version__}, this file:",
            "",
            *(f"- {engine}: {symptom.text if symptom else 'right'}" for engine, symptom in engines),
            "",
            *origin(evidence),
            "",
            "### Steps to reproduce",
            "",
            *steps(evidence, printed),
            "",
            "### Workarounds",
            "",
            f"Tried with the whole model, {evidence.name}:",
            "",
            workarounds,
            "",
        ]
    )


def same_finding(one: str, other: str) -> bool:
    """Whether two reports agree on everything but times and, where the output depends on
    uninitialized memory, on the numbers that this memory happened to hold."""
    return _finding(one) == _finding(other)


def _finding(text: str) -> tuple[str, list[str]]:
    head, _, body = text.partition(DESCRIPTION)
    unstable = UNINITIALIZED in head
    lines = []
    for line in body.splitlines():
        if unstable and line.startswith(RUN):
            continue
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        if len(cells) == len(COLUMNS):
            change, result, *rest = cells[:-1]  # without ms/image
            line = f"{change}: {result == PASSES}" if unstable else f"{change}: {result}: {rest}"
        line = re.sub(TIME, "", line)
        lines.append(_without_values(line) if unstable else line)
    return head, lines


def _without_values(line: str) -> str:
    return re.sub(NUMBER, "", re.sub(UNSTABLE, "unstable", line))


def title(evidence: Evidence) -> str:
    ops = " + ".join(dict.fromkeys(node.op_type for node in evidence.model.graph.node))
    if evidence.symptom.heap:
        what = UNINITIALIZED
    else:
        what = {
            "values": "wrong output without an error",
            "nonfinite": "NaN or infinity in the output without an error",
            "shape": "output of a wrong shape",
            "refused": "a valid model is refused",
            "error": "the forward pass throws",
            "crashed": "the process crashes",
            "timeout": "the forward pass hangs",
        }[evidence.symptom.kind]
    return f"DNN, {evidence.engine} engine: {what}: {ops}"


def system(evidence: Evidence) -> Iterator[str]:
    build = cv2.getBuildInformation()
    # Its name and version: the folder is of the machine that OpenCV was built on.
    compiler = re.search(r"C\+\+ Compiler:\s+(?:\S*/)?(.*)", build)
    yield f"- OpenCV {cv2.__version__} (opencv-python {version('opencv-python')})"
    libc = " ".join(platform.libc_ver())
    yield f"- Operating system: {platform.system()} {platform.machine()}, {libc}"
    yield f"- Compiler: {' '.join(compiler[1].split()) if compiler else 'unknown'}"
    yield f"- Python {platform.python_version()}, numpy {np.__version__}"


def description(evidence: Evidence) -> Iterator[str]:
    count = len(evidence.model.graph.node)
    symptom = evidence.symptom
    yield (
        f"`model.onnx`, {count} node{'s' if count > 1 else ''}, is {evidence.name} reduced to what "
        f"shows the fault (in the whole model: {evidence.whole.text}). Its output in the "
        f"{evidence.engine} engine, against ONNX Runtime's:"
    )
    yield ""
    yield f"- expected: {statistics_text(evidence.expected)}"
    if evidence.seen is None:
        yield f"- seen: {symptom.message}"
    else:
        yield f"- seen: {statistics_text(evidence.seen)}"
        if evidence.expected.size <= 8 >= evidence.seen.size:
            yield f"- expected values: {evidence.expected.ravel().tolist()}"
            yield f"- seen values: {evidence.seen.ravel().tolist()}"
    if symptom.heap:
        yield ""
        yield (
            "The output depends on uninitialized memory: these values were seen with "
            f"`MALLOC_PERTURB_={symptom.heap}`, which makes glibc fill fresh memory; another "
            "setting gives other values."
        )


def nodes(evidence: Evidence) -> Iterator[str]:
    """Yield a table of the graph's nodes."""
    weights = {one.name: tuple(one.dims) for one in evidence.model.graph.initializer}
    values = all_values(evidence.model, evidence.feeds)
    shapes = weights | {name: value.shape for name, value in values.items()}

    def tensor(name: str) -> str:
        kind = "input " if name in evidence.feeds else "weight " if name in weights else ""
        shape = f" {shapes[name]}" if name in shapes else ""
        return f"{kind}`{name}`{shape}" if name else "none"

    yield "| op | inputs | outputs | attributes | PyTorch module |"
    yield "| --- | --- | --- | --- | --- |"
    for node in evidence.model.graph.node:
        described = describe_node(node, shapes)
        attributes = ", ".join(f"{name}={value}" for name, value in described.attributes.items())
        inputs, outputs = (", ".join(map(tensor, names)) for names in (node.input, node.output))
        kind = f" ({described.module_class})" if described.module_class else ""
        module = f"{described.module}{kind}" if described.module else ""
        yield f"| {node.op_type} | {inputs} | {outputs} | {attributes} | {module} |"
    yield ""
    yield f"Output: `{output_names(evidence.model)[0]}`."


def origin(evidence: Evidence) -> Iterator[str]:
    original = evidence.original
    metadata = {entry.key: entry.value for entry in original.metadata_props}
    opset = max(one.version for one in original.opset_import if one.domain in ("", "ai.onnx"))
    producer = f"{original.producer_name} {original.producer_version}".strip()
    if "torch" in metadata:
        exporter = metadata.get("exporter", "unknown")
        producer = f"torch {metadata['torch']}, exporter {exporter}"
    yield (
        f"The model was written by {producer or 'an unknown producer'}, opset {opset}; the graph "
        f"was cut with onnx {version('onnx')}; the expected output is that of onnxruntime "
        f"{version('onnxruntime')} without graph optimisation."
    )


def steps(evidence: Evidence, printed: str) -> Iterator[str]:
    yield "`python reproduce.py` in this folder; it needs numpy and cv2. It printed:"
    yield ""
    yield "```"
    yield printed.rstrip()
    yield "```"
    yield ""
    yield "In short:"
    yield ""
    yield "```python"
    constant = f"ENGINE_{evidence.engine.upper()}"
    engine = f", cv2.dnn.{constant}" if hasattr(cv2.dnn, constant) else ""
    yield f'net = cv2.dnn.readNetFromONNX("model.onnx"{engine})'
    for number, name in enumerate(evidence.feeds):
        file = f"input{'' if number == 0 else f'_{number + 1}'}.npy"
        yield f'net.setInput(np.load("{file}"), "{name}")'
    yield 'print(net.forward(), np.load("expected.npy"))'
    yield "```"
