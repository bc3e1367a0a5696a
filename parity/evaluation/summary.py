"""The summary of all models: a table in Markdown, and the notes below it."""

import json
import textwrap
from collections.abc import Sequence

from parity.backends.contract import BACKENDS, LABELS, failure_text
from parity.core.markdown import (
    NOTHING,
    agreement_text,
    difference_text,
    markdown_table,
    ratio_text,
)
from parity.evaluation.messages import nonfinite_text, stability_text
from parity.evaluation.results import PairParity, Results
from parity.evaluation.shown_times import mark, time_notes
from parity.evaluation.verdict import VACUOUS, is_vacuous

HEADINGS = LABELS | {"onnxruntime": "ORT"}  # the table is wide enough
# The two steps from PyTorch to OpenCV, each with the owner of its deviation.
STEPS = {"onnxruntime_vs_pytorch": "export", "opencv_vs_onnxruntime": "engine"}
NOT_COMPARED = PairParity(None, None, None, None, None, None)
SETUP = ("engine", "backend", "target")  # of OpenCV, which a model may have of its own
MAX_FAILURE = 300  # characters of a failure's message


def summary_text(models: Sequence[Results], least_spread: float) -> str:
    """Return the table and its notes; an agreement of outputs whose spread is less than
    `least_spread` is vacuous."""
    return f"{summary_table(models, least_spread)}\n{summary_notes(models, least_spread)}"


def summary_table(models: Sequence[Results], least_spread: float) -> str:
    """Return one row per model, padded so that it reads well in a terminal too."""
    published = has_published(models)
    header = ["model", "task", "images", *(["published %"] if published else [])]
    header += [f"{name} %" for name in HEADINGS.values()]
    header += ["l1", "linf", "rel", "exact", *STEPS.values(), "agree %"]
    header += [f"{name} ms" for name in HEADINGS.values()]
    header += ["OpenCV/PyTorch"]
    rows = [_cells(results, published, least_spread) for results in models]
    return markdown_table([header, *rows], left=2)


def _cells(results: Results, published: bool, least_spread: float) -> list[str]:
    parity = results.parity_with_reference or NOT_COMPARED
    steps = [results.parity.get(pair, NOT_COMPARED) for pair in STEPS]
    medians = results.medians
    cells = [results.model, results.task, str(results.images)]
    cells += [accuracy_text(results.published)] if published else []
    cells += [accuracy_text(results.accuracy.get(name)) for name in BACKENDS]
    cells += map(difference_text, (parity.l1, parity.linf, parity.rel))
    cells += [ratio_text(results.exact.ratio.get("opencv"))]
    cells += [difference_text(step.rel) for step in steps]
    cells += [agreement_or_vacuous(parity, least_spread)]
    for name in BACKENDS:
        is_timed = name in medians
        cells.append(milliseconds(medians[name]) + mark(results) if is_timed else NOTHING)
    return [*cells, speed_text(results)]


def has_published(models: Sequence[Results]) -> bool:
    return any(results.published is not None for results in models)


def accuracy_text(percent: float | None) -> str:
    return NOTHING if percent is None else f"{percent:.2f}"


def agreement_or_vacuous(parity: PairParity, least_spread: float) -> str:
    """Return the agreement, or `vacuous` for full agreement of outputs that could only agree."""
    if parity.agreement == 100 and is_vacuous(parity, least_spread):
        return VACUOUS
    return agreement_text(parity.agreement)


def milliseconds(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 1 else f"{value:.2f}"


def speed_text(results: Results) -> str:
    """Return the ratio of OpenCV's median time to the reference's, with its interval."""
    reference = "" if results.reference == "pytorch" else "ORT: "
    if results.benchmark is None or results.benchmark.ratio is None:
        return reference + NOTHING
    interval, text = results.benchmark.ratio_interval, f"{results.benchmark.ratio:.2f}"
    if interval.low is not None and interval.high is not None:
        text += f" ({interval.low:.2f}-{interval.high:.2f})"
    return reference + text + mark(results)


def summary_notes(models: Sequence[Results], least_spread: float) -> str:
    """Explain the columns of the table, list what went wrong, and describe the machine."""
    columns = (
        "%: accuracy, of classification acc@1, of segmentation the mean IoU. ORT: ONNX Runtime."
        " l1, linf: mean and largest absolute difference of OpenCV's and PyTorch's logits; rel:"
        " linf over PyTorch's largest absolute logit. exact: OpenCV's distance from the logits that"
        " float64 gives, over PyTorch's own; 1.0 is as exact as PyTorch. export, engine: rel of the"
        " two steps, ONNX Runtime against PyTorch and OpenCV against ONNX Runtime. agree: images or"
        " pixels with the same class."
    )
    timed = [results.benchmark for results in models if results.benchmark]
    if timed:
        confidences = sorted({one.ratio_interval.confidence for one in timed})
        confidence = "/".join(f"{value:g}" for value in confidences)
        columns += (
            " ms: median time of a forward pass; OpenCV/PyTorch: their ratio and its"
            f" {confidence} % confidence interval."
        )
    if has_published(models):
        columns += " published: torchvision's figure for the weights, on the original dataset."
    if any(results.reference != "pytorch" for results in models):
        columns += (
            " A model that is an ONNX file from the start has no PyTorch: its differences, its"
            " `exact` and its ratio, marked ORT, are those to ONNX Runtime."
        )
    compared = [results.parity_with_reference or NOT_COMPARED for results in models]
    if any(agreement_or_vacuous(parity, least_spread) == VACUOUS for parity in compared):
        columns += (
            " vacuous: the reference's outputs are so alike that the backends could only agree;"
            " `make gate` says what to do."
        )
    texts = [columns, *problems(models), *time_notes(models), environment_text(models)]
    return "\n\n".join(textwrap.fill(text, 100) for text in texts if text) + "\n"


def problems(models: Sequence[Results]) -> list[str]:
    """Say what no column of the table shows: failures, NaN or infinity, instability, mending, why
    there is no exact answer."""
    lines = []
    for results in models:
        found = [failure_text(*failure) for failure in results.failures.items()]
        found += [nonfinite_text(*counted) for counted in results.nonfinite.items() if counted[1]]
        if results.stability.stable is False:
            found.append(stability_text(results.stability))
        if results.mending:
            found.append(results.mending.text)
        if results.exact.reason:
            found.append(f"no exact answer: {results.exact.reason}")
        lines += [f"{results.model}: {textwrap.shorten(text, MAX_FAILURE)}" for text in found]
    return lines


def environment_text(models: Sequence[Results]) -> str:
    """Say what was timed, where and when, and warn where the environments differ; empty without
    times."""
    models = [results for results in models if results.benchmark]
    if not models:
        return ""
    blobs: dict[str, list[str]] = {}
    for results in models:
        blobs.setdefault("x".join(map(str, results.benchmark.blob)), []).append(results.model)
    counts = {
        blob: f" ({_count_text(names)})" if len(blobs) > 1 else "" for blob, names in blobs.items()
    }
    sizes = ", ".join(f"{blob}{count}" for blob, count in counts.items())
    machines: dict[str, list[Results]] = {}
    for results in models:
        where = results.benchmark.environment
        opencv = {key: value for key, value in where["opencv"].items() if key not in SETUP}
        machines.setdefault(json.dumps(where | {"opencv": opencv}), []).append(results)
    days = sorted({results.benchmark.conditions.date[:10] for results in models})
    when = f"measured {' to '.join(dict.fromkeys((days[0], days[-1])))}"
    text = f"Blob, NCHW: {sizes}. {'; '.join(map(_machine_text, machines.values()))}, {when}."
    if len(machines) > 1:
        text += " Measured in different environments: do not compare the times of different models."
    return text


def _count_text(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{len(names)} models"


def _machine_text(models: Sequence[Results]) -> str:
    """Describe the machine that some models share, and how OpenCV ran each of them there."""
    environment = models[0].benchmark.environment
    setups: dict[str, list[str]] = {}
    for results in models:
        opencv = results.benchmark.environment["opencv"]
        setup = ", ".join(f"{key} {opencv[key]}" for key in SETUP)
        setups.setdefault(setup, []).append(results.model)
    several = len(setups) > 1
    texts = [
        f"{setup}: {_count_text(names)}" if several else setup for setup, names in setups.items()
    ]
    threads = [environment[backend]["threads"] for backend in BACKENDS]
    same = len(set(threads)) == 1
    count = f"threads {threads[0] if same else '/'.join(map(str, threads))}"
    versions = ", ".join(
        f"{name} {environment[backend]['version']}" for backend, name in LABELS.items()
    )
    cpu = f"{environment['cpu']}, cores {environment['cores']}"
    if "gpu" in environment["pytorch"]:
        versions = versions.replace(",", f" on {environment['pytorch']['gpu']},", 1)
    return f"{cpu}, {count}; {versions} ({'; '.join(texts)})"
