"""Compare all models: a table, charts of accuracy, parity and time, and the data behind them."""

import argparse
import csv
import io
import json
import math
import textwrap
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from parity.backends.contract import BACKENDS, LABELS, PAIRS, failure_text
from parity.core.cli import InputError, log, run
from parity.core.files import read_json, write_text
from parity.core.markdown import agreement_text, difference_text, markdown_table
from parity.core.params import load_params
from parity.core.paths import plot_data_folder, plot_folder
from parity.evaluation.messages import nonfinite_text, stability_text

# matplotlib is imported by what draws only: `--print` must answer at once.

PLOTS = Path("plots")
TABLE = PLOTS / "summary.md"
OVERVIEW = ("inference_time.png", "accuracy.png", "parity.png")
HEADINGS = LABELS | {"onnxruntime": "ORT"}  # the table is wide enough
METRICS = {
    "acc@1": "Classification: share of images whose predicted class is right (acc@1, %)",
    "mean_iou": "Segmentation: intersection over union, mean of the classes (mean IoU, %)",
}
# The columns of the rel of two pairs: the steps that add up to that of OpenCV and PyTorch.
OWNERS = {"onnxruntime_vs_pytorch": "export", "opencv_vs_onnxruntime": "engine"}
NO_PARITY = dict.fromkeys(("l1", "linf", "rel", "agreement"))
MESSAGE = 300  # letters of a failure's message, which may be long
WIDTH = 10.0  # inches of a chart
LOG_SPAN = 20  # of the longest to the shortest time, from which on the axis is logarithmic


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="stages.summary", description=__doc__)
    parser.add_argument("--print", action="store_true", help="show the summary that is there")
    arguments = parser.parse_args(argv)

    params = load_params()
    if arguments.print:
        print(printed(list(params.models)), end="")
        return
    rows = [read_json(plot_data_folder(model) / "row.json") for model in params.models]
    draw_times(PLOTS / "inference_time.png", rows, params.plot.dpi)
    draw_accuracy(PLOTS / "accuracy.png", rows, params.plot.dpi)
    draw_parity(PLOTS / "parity.png", rows, params.plot.dpi)
    write_csv(PLOTS / "inference_time.csv", TIME_COLUMNS, time_records(rows))
    write_csv(PLOTS / "accuracy.csv", ACCURACY_COLUMNS, accuracy_records(rows))
    write_csv(PLOTS / "parity.csv", PARITY_COLUMNS, parity_records(rows))
    write_text(TABLE, table(rows) + "\n" + notes(rows))
    log(f"compared in {TABLE}: {', '.join(names(rows))}")


def table(rows: list[dict]) -> str:
    """All models in Markdown, padded so that it reads well in a terminal too."""
    header = ["model", "task", "images"]
    header += ["published %"] if any_published(rows) else []
    header += [f"{name} %" for name in HEADINGS.values()]
    header += ["l1", "linf", "rel", *OWNERS.values(), "agree %"]
    header += [f"{name} ms" for name in HEADINGS.values()]
    header += ["OpenCV/PyTorch"]
    lines = [table_cells(row, any_published(rows)) for row in rows]
    return markdown_table([header, *lines], left=2)


def table_cells(row: dict, with_published: bool) -> list[str]:
    parity = row["parity"].get(f"opencv_vs_{row['reference']}", NO_PARITY)
    cells = [row["model"], row["task"], str(row["images"])]
    cells += [_text(row["published"], "{:.2f}".format)] if with_published else []
    cells += [_text(row["accuracy"].get(backend), "{:.2f}".format) for backend in BACKENDS]
    cells += [_text(parity[key], difference_text) for key in ("l1", "linf", "rel")]
    cells += [_text(row["parity"].get(pair, NO_PARITY)["rel"], difference_text) for pair in OWNERS]
    cells += [_text(parity["agreement"], agreement_text)]
    cells += [_text(row["median_ms"].get(backend), milliseconds) for backend in BACKENDS]
    return [*cells, ratio_text(row)]


def any_published(rows: list[dict]) -> bool:
    return any(row["published"] is not None for row in rows)


def notes(rows: list[dict]) -> str:
    """What the columns of the table mean and where the times come from, in Markdown."""
    confidences = sorted({row["ratio_interval"]["confidence"] for row in rows})
    confidence = "/".join(f"{value:g}" for value in confidences)
    columns = (
        "%: accuracy, of classification acc@1, of segmentation the mean IoU. ORT: ONNX Runtime."
        " l1, linf: mean and largest absolute difference of OpenCV's and PyTorch's logits; rel:"
        " linf over PyTorch's largest absolute logit. export, engine: rel of the two steps, ONNX"
        " Runtime against PyTorch and OpenCV against ONNX Runtime. agree: images or pixels with the"
        " same class."
        f" ms: median time of a forward pass; OpenCV/PyTorch: their ratio and its {confidence} %"
        " confidence interval."
    )
    if any_published(rows):
        columns += " published: what torchvision names for the weights, on the field's own data."
    if any(row["reference"] != "pytorch" for row in rows):
        columns += (
            " A model that is an ONNX file from the start has no PyTorch: its differences and its"
            " ratio, marked ORT, are those to ONNX Runtime."
        )
    texts = [columns, *wrong(rows), environment_text(rows)]
    return "\n\n".join(textwrap.fill(text, 100) for text in texts) + "\n"


def wrong(rows: list[dict]) -> list[str]:
    """What no column of the table says: failures, outputs that are no number, instability."""
    lines = []
    for row in rows:
        found = [failure_text(*failed) for failed in row["failures"].items()]
        found += [nonfinite_text(*counted) for counted in row["nonfinite"].items() if counted[1]]
        if row["stability"]["stable"] is False:
            found.append(stability_text(row["stability"]))
        lines += [f"{row['model']}: {textwrap.shorten(text, MESSAGE)}" for text in found]
    return lines


def _text(value: float | None, text: Callable[[float], str]) -> str:
    return "-" if value is None else text(value)


def milliseconds(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 1 else f"{value:.2f}"


def ratio_text(row: dict) -> str:
    ratio, interval = row["ratio"], row["ratio_interval"]
    mark = "" if row["reference"] == "pytorch" else "ORT: "
    if ratio is None or interval["low"] is None or interval["high"] is None:
        return mark + _text(ratio, "{:.2f}".format)
    return f"{mark}{ratio:.2f} ({interval['low']:.2f}-{interval['high']:.2f})"


def environment_text(rows: list[dict]) -> str:
    """The blobs and the machine of the times; says so where they are of different ones."""
    blobs: dict[str, list[str]] = {}
    for row in rows:
        blobs.setdefault("x".join(map(str, row["blob"])), []).append(row["model"])
    sizes = ", ".join(
        blob if len(blobs) == 1 else f"{blob} ({_count(models)})" for blob, models in blobs.items()
    )
    machines = {json.dumps(row["environment"]): row["environment"] for row in rows}
    text = f"Blob, NCHW: {sizes}. " + "; ".join(map(machine_text, machines.values())) + "."
    if len(machines) > 1:
        text += " Measured in different environments: do not compare the times of different models."
    return text


def machine_text(environment: dict) -> str:
    opencv = environment["opencv"]
    threads = [environment[backend]["threads"] for backend in BACKENDS]
    same = len(set(threads)) == 1
    count = f"threads {threads[0] if same else '/'.join(map(str, threads))}"
    versions = ", ".join(
        f"{name} {environment[backend]['version']}" for backend, name in LABELS.items()
    )
    setup = f"engine {opencv['engine']}, backend {opencv['backend']}, target {opencv['target']}"
    cpu = f"{environment['cpu']}, cores {environment['cores']}"
    if "gpu" in environment["pytorch"]:
        versions = versions.replace(",", f" on {environment['pytorch']['gpu']},", 1)
    return f"{cpu}, {count}; {versions} ({setup})"


def _count(models: list[str]) -> str:
    return models[0] if len(models) == 1 else f"{len(models)} models"


Records = list[dict[str, object]]
TIME_COLUMNS = ("model", "backend", "label", "median_ms", "p95_ms")
ACCURACY_COLUMNS = ("model", "backend", "label", "metric", "value")
PARITY_COLUMNS = ("model", "pair", "label", "l1", "linf", "rel", "agreement", "ties", "spread")


def time_records(rows: list[dict]) -> Records:
    return [
        {
            "model": row["model"],
            "backend": backend,
            "label": f"{row['model']} {backend}",
            "median_ms": row["median_ms"][backend],
            "p95_ms": row["p95_ms"][backend],
        }
        for row in rows
        for backend in row["median_ms"]
    ]


def accuracy_records(rows: list[dict]) -> Records:
    return [
        {
            "model": row["model"],
            "backend": backend,
            "label": f"{row['model']} {backend}",
            "metric": row["metric"],
            "value": row["accuracy"][backend],
        }
        for row in rows
        for backend in row["accuracy"]
    ]


def parity_records(rows: list[dict]) -> Records:
    return [
        {"model": row["model"], "pair": pair, "label": f"{row['model']} {pair}"}
        | {key: row["parity"][pair][key] for key in PARITY_COLUMNS[3:]}
        for row in rows
        for pair in row["parity"]
    ]


def write_csv(path: Path, columns: Sequence[str], records: Records) -> None:
    """Every digit, so that no 99.9999999 becomes a 100; nothing where there is no value."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    write_text(path, text.getvalue())


def draw_times(path: Path, rows: list[dict], dpi: int) -> None:
    """Bars to the median, a whisker to the 95th percentile."""
    from parity.evaluation import charts

    medians = {backend: [row["median_ms"].get(backend) for row in rows] for backend in BACKENDS}
    p95s = {backend: [row["p95_ms"].get(backend) for row in rows] for backend in BACKENDS}
    shortest = min(value for row in rows for value in row["median_ms"].values())
    longest = max(value for row in rows for value in row["p95_ms"].values())
    with charts.new_figure(path, WIDTH, charts.bars_height(len(rows)) + 0.9, dpi) as figure:
        runs = "/".join(str(runs) for runs in sorted({row["runs"] for row in rows}))
        legend = f"Bar and number: median of {runs} runs; whisker: to the 95th percentile."
        charts.header(figure, "Inference time in ms", f"{legend}\n{environment_text(rows)}")
        axes = figure.subplots()
        is_log = longest > LOG_SPAN * shortest
        if is_log:
            room = (longest / shortest) ** 0.1
            charts.log_axis(axes, shortest / 2, longest * room, (1, 2, 5), "{:g}".format)
        else:
            axes.set_xlim(0, longest * 1.1)
        charts.grouped_bars(axes, names(rows), medians, milliseconds, p95s, failures_of(rows))
        axes.set_xlabel("ms, logarithmic" if is_log else "ms")
        charts.backend_legend(figure)


def draw_accuracy(path: Path, rows: list[dict], dpi: int) -> None:
    """A panel a task: their scores are no scores of each other."""
    from parity.evaluation import charts

    panels = {
        metric: [row for row in rows if row["metric"] == metric]
        for metric in METRICS
        if any(row["metric"] == metric for row in rows)
    }
    heights = [charts.bars_height(len(members)) for members in panels.values()]
    height = sum(heights) + 0.4 * len(panels) + 0.7
    with charts.new_figure(path, WIDTH, height, dpi) as figure:
        charts.header(figure, "Accuracy of the same model in each backend", images_text(rows))
        grid = figure.subplots(len(panels), squeeze=False, height_ratios=heights)[:, 0]
        for axes, (metric, members) in zip(grid, panels.items(), strict=True):
            values = {
                backend: [row["accuracy"].get(backend) for row in members] for backend in BACKENDS
            }
            axes.set_title(METRICS[metric])
            axes.set(xlim=(0, 106), xticks=range(0, 101, 20))
            missing = failures_of(members)
            charts.grouped_bars(axes, names(members), values, "{:.2f}".format, missing=missing)
            if any_published(members):
                charts.right_of(axes, -0.5, "published", above=True)
                for number, row in enumerate(members):
                    charts.right_of(axes, number, _text(row["published"], "{:.2f}".format))
        charts.backend_legend(figure)


def draw_parity(path: Path, rows: list[dict], dpi: int) -> None:
    """A dot a pair of backends, and their agreement to the right."""
    from parity.evaluation import charts

    low, high = relative_limits([one["rel"] for row in rows for one in row["parity"].values()])
    with charts.new_figure(path, WIDTH, charts.bars_height(len(rows)) + 1.1, dpi) as figure:
        charts.header(
            figure,
            "Parity of the backends' answers",
            "rel: largest absolute difference of the logits over the reference's largest absolute"
            " logit. Agreement: share of images or pixels with the same predicted class.",
        )
        axes = figure.subplots()
        charts.log_axis(axes, low, high, (1,), "{:.0e}".format)
        for number, pair in enumerate(PAIRS):
            shift = (number - 1) * charts.bar_step(len(PAIRS))
            for group, row in enumerate(rows):
                one = row["parity"].get(pair)
                if one is None:
                    failed = [LABELS[name] for name in PAIRS[pair] if name in row["failures"]]
                    if failed:
                        charts.failure_label(axes, group + shift, f"{failed[0]} failed")
                    continue
                charts.parity_dot(axes, group + shift, one["rel"], pair, (low, high))
                agreement = _text(one["agreement"], lambda value: f"{agreement_text(value)} %")
                charts.right_of(axes, group + shift, agreement, strong=one["agreement"] != 100)
        charts.right_of(axes, -0.5, "agreement", above=True)
        charts.name_rows(axes, names(rows))
        axes.hlines([row + 0.5 for row in range(len(rows) - 1)], low, high, **charts.RULE)
        axes.grid(axis="x")
        axes.set_xlabel("rel, logarithmic")
        charts.pair_legend(figure)


def failures_of(rows: list[dict]) -> dict[str, list[str | None]]:
    """What each backend failed in, by model, in one word."""
    return {
        backend: [row["failures"].get(backend, {}).get("kind") for row in rows]
        for backend in BACKENDS
    }


def relative_limits(values: list[float | None]) -> tuple[float, float]:
    """Whole decades around all values, with one more to the left if there is an exact 0."""
    positive = [value for value in values if value]
    low = 10.0 ** math.floor(math.log10(min(positive, default=1e-8)) - 0.1)
    high = 10.0 ** math.ceil(math.log10(max(positive, default=1e-6)) + 0.1)
    return (low / 10 if 0 in values else low), high


def names(rows: list[dict]) -> list[str]:
    return [row["model"] for row in rows]


def images_text(rows: list[dict]) -> str:
    """How many images the scores are of, by task."""
    counts: dict[str, set[int]] = {}
    for row in rows:
        counts.setdefault(row["task"], set()).add(row["images"])
    return "; ".join(
        f"{task}: {' or '.join(f'{number:,}' for number in sorted(numbers))} images"
        for task, numbers in counts.items()
    )


def printed(models: list[str]) -> str:
    """The table and the paths of the pictures that are there; raises InputError without a table."""
    try:
        text = TABLE.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError(f"{TABLE}: no such file; run `make`, which writes it") from None
    groups = {"overview": _existing(PLOTS / name for name in OVERVIEW)}
    groups |= {model: _existing(sorted(plot_folder(model).glob("*.png"))) for model in models}
    groups = {name: paths for name, paths in groups.items() if paths}
    if not groups:
        return text
    width = max(map(len, groups))
    lines = [f"{name:<{width}}  {'  '.join(paths)}\n" for name, paths in groups.items()]
    return f"{text}\nPictures\n{''.join(lines)}"


def _existing(paths: Iterable[Path]) -> list[str]:
    return [str(path) for path in paths if path.exists()]


if __name__ == "__main__":
    run(main)
