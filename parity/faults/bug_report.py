"""A report of a fault in OpenCV, in the form that its maintainers ask for."""

import platform
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version

import cv2
import numpy as np
from onnx import ModelProto

from parity.faults.symptom import Symptom
from parity.graphs.difference import statistics
from parity.graphs.graph import all_values, describe_node, output_names


@dataclass
class Evidence:
    """A small graph, what is fed to it, what is `expected` and what was `seen` in `engine` (None
    where there was no output), and what each engine does with it. `whole` is what was wrong with
    the `original` model."""

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
    """The report in Markdown; `printed` is what the reproducing script said."""
    return "\n".join(
        [
            f"# {title(evidence)}",
            "",
            "### System Information",
            "",
            *system(evidence),
            "",
            "### Detailed description",
            "",
            *description(evidence),
            "",
            "The graph:",
            "",
            *nodes(evidence),
            "",
            f"Engines, OpenCV {cv2.__version__}, this file:",
            "",
            *(f"- {engine}: {words(one)}" for engine, one in evidence.symptoms.items()),
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


def title(evidence: Evidence) -> str:
    ops = " + ".join(dict.fromkeys(node.op_type for node in evidence.model.graph.node))
    if evidence.symptom.heap:
        what = "the output depends on what memory held before"
    else:
        what = {
            "values": "wrong output without an error",
            "nonfinite": "NaN or infinity in the output without an error",
            "shape": "output of a wrong shape",
            "refused": "a valid model is refused",
            "error": "the forward pass throws",
            "crashed": "the process crashes",
            "timeout": "the forward pass does not end",
        }[evidence.symptom.kind]
    return f"DNN, {evidence.engine} engine: {what}: {ops}"


def words(symptom: Symptom | None) -> str:
    return symptom.words if symptom else "right"


def system(evidence: Evidence) -> Iterator[str]:
    built = cv2.getBuildInformation()
    compiler = re.search(r"C\+\+ Compiler:\s+(.*)", built)
    yield f"- OpenCV {cv2.__version__} (opencv-python {version('opencv-python')})"
    libc = " ".join(platform.libc_ver())
    yield f"- Operating system: {platform.system()} {platform.machine()}, {libc}"
    yield f"- Compiler: {' '.join(compiler[1].split()) if compiler else 'unknown'}"
    yield f"- Python {platform.python_version()}, numpy {np.__version__}"


def description(evidence: Evidence) -> Iterator[str]:
    count = len(evidence.model.graph.node)
    symptom = evidence.symptom
    yield (
        f"`model.onnx`, {count} node{'s' if count > 1 else ''}, is what is left of {evidence.name} "
        f"(there: {evidence.whole.words}) when all is taken out that the fault does not need. Its "
        f"output in the {evidence.engine} engine, against ONNX Runtime's:"
    )
    yield ""
    yield f"- expected: {statistics(evidence.expected)}"
    yield f"- seen: {statistics(evidence.seen) if evidence.seen is not None else symptom.message}"
    if evidence.seen is not None and evidence.expected.size <= 8 >= evidence.seen.size:
        yield f"- expected values: {evidence.expected.ravel().tolist()}"
        yield f"- seen values: {evidence.seen.ravel().tolist()}"
    if symptom.heap:
        yield ""
        yield (
            "The values seen hang on what memory held before: they are those of "
            f"`MALLOC_PERTURB_={symptom.heap}`, which makes glibc fill fresh memory; with another "
            "value they are others."
        )


def nodes(evidence: Evidence) -> Iterator[str]:
    values = all_values(evidence.model, evidence.feeds)
    shapes = {one.name: tuple(one.dims) for one in evidence.model.graph.initializer}
    shapes |= {name: value.shape for name, value in values.items()}
    weights = {one.name for one in evidence.model.graph.initializer}

    def tensor(name: str) -> str:
        kind = "input " if name in evidence.feeds else "weight " if name in weights else ""
        shape = f" {shapes[name]}" if name in shapes else ""
        return f"{kind}`{name}`{shape}" if name else "none"

    yield "| op | inputs | outputs | attributes | PyTorch module |"
    yield "| --- | --- | --- | --- | --- |"
    for node in evidence.model.graph.node:
        text = describe_node(node, shapes)
        attributes = ", ".join(f"{name}={value}" for name, value in text.attributes.items())
        inputs, outputs = (", ".join(map(tensor, names)) for names in (node.input, node.output))
        kind = f"({text.module_class})" if text.module_class else ""
        module = f"{text.module} {kind}".rstrip()
        yield (
            f"| {node.op_type} | {inputs} | {outputs} | {attributes} "
            f"| {module if text.module else ''} |"
        )
    yield ""
    yield f"Output: `{output_names(evidence.model)[0]}`."


def origin(evidence: Evidence) -> Iterator[str]:
    original = evidence.original
    said = {entry.key: entry.value for entry in original.metadata_props}
    opset = max(one.version for one in original.opset_import if one.domain in ("", "ai.onnx"))
    made = f"{original.producer_name} {original.producer_version}".strip()
    if "torch" in said:
        made = f"torch {said['torch']}, exporter {said.get('exporter', 'unknown')}"
    yield (
        f"The model was made by {made or 'an unknown producer'}, opset {opset}; the graph was cut "
        f"with onnx {version('onnx')}; the expected output is that of onnxruntime "
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
    constant = f"cv2.dnn.ENGINE_{evidence.engine.upper()}"
    engine = f", {constant}" if hasattr(cv2.dnn, constant.rpartition(".")[2]) else ""
    yield f'net = cv2.dnn.readNetFromONNX("model.onnx"{engine})'
    for number, name in enumerate(evidence.feeds):
        file = f"input{'' if number == 0 else f'_{number + 1}'}.npy"
        yield f'net.setInput(np.load("{file}"), "{name}")'
    yield 'print(net.forward(), np.load("expected.npy"))'
    yield "```"
