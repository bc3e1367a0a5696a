"""The answer of `make coverage`: the record, a page in Markdown and a picture.

A full run writes metrics/coverage.json, COVERAGE.md and plots/coverage.png, which Git tracks; a
narrowed run writes data/coverage/narrowed/, which it does not. Of another zoo than torchvision,
names of files end in the zoo's.
"""

import os
import statistics
import textwrap
from collections import Counter
from math import inf
from pathlib import Path

from parity.core.answer_files import AnswerFiles
from parity.core.cli import log
from parity.core.files import write_json, write_text
from parity.core.markdown import markdown_table, ratio_text
from parity.core.params import TORCHVISION, Params
from parity.coverage.advice import CLEARLY_FASTER_RATIO, advise, name_without_opencv, upgrades
from parity.coverage.cells import Combination, Figures, of_zoo
from parity.coverage.heat_map import draw
from parity.coverage.record import (
    LABELS,
    RECORD,
    Record,
    cells_of,
    combinations_of,
    full_record,
    is_mended,
    label_of,
    verdicts_in,
    zoo_of,
)
from parity.mending.steps import counts_text


class ZooFiles(AnswerFiles):
    """Where the answer on a zoo is written."""

    def of_zoo(self, zoo: str) -> "ZooFiles":
        """The files of another zoo, in place of these of torchvision's."""
        return ZooFiles(*(of_zoo(path, zoo) for path in (self.record, self.page, self.picture)))


FULL = ZooFiles(RECORD, Path("COVERAGE.md"), Path("plots/coverage.png"))
NARROWED = FULL.inside(Path("data/coverage/narrowed"))

YARDSTICK = Path("docs/exactness.md")
RATIOS = (1, 2, 3, 5, 10, 20)  # where the ranges of the histogram end
SYMBOLS = {
    "same": "✓",
    "vacuous": "?",
    "imprecise": "±",
    "not exportable": "∅",
    "refused": "⊘",
    "timeout": "…",
    "crashed": "†",
    "unstable": "≈",
    "different": "✗",
}


def report_full(params: Params, zoo: str = TORCHVISION) -> None:
    """Judge the cells of a zoo's full record again and write its answer.

    Raises InputError where a cell of the old record would be lost.
    """
    record, files = full_record(params, zoo=zoo), FULL.of_zoo(zoo)
    if record["models"]:
        write_answer(record, files, params.plot.dpi)
        log(str(files))
    else:
        log(f"{files.record}: nothing was measured yet; `{command(zoo)}` does it")


def command(zoo: str) -> str:
    """What a user types to measure a zoo."""
    return "make coverage" if zoo == TORCHVISION else f"make coverage ZOO={zoo}"


def write_answer(record: Record, files: AnswerFiles, dpi: int) -> None:
    """Write the record, the page and the picture, and print the totals."""
    write_json(files.record, record)
    write_text(files.page, page(record, files))
    draw(files.picture, record, dpi)
    print(totals(record), end="")


def page(record: Record, files: AnswerFiles = FULL) -> str:
    """The whole page, in Markdown; its links are relative to where it is written."""
    link, picture, yardstick = (
        Path(os.path.relpath(path, files.page.parent)).as_posix()
        for path in (files.record, files.picture, YARDSTICK)
    )
    zoo = zoo_of(record)
    models = "models" if zoo == TORCHVISION else f"models of {zoo}"
    intro = (
        f"Which of {zoo}'s models give the same outputs in OpenCV's DNN module as in PyTorch?"
        f" Written by `{command(zoo)}`; [{link}]({link}) holds the same for scripts. Weights"
        " are random but calibrated, so that the outputs depend on the image: the page compares"
        f" computations, not what a model recognises. {images_text(record)}"
    )
    versions = record["constants"]["versions"]
    libraries = ", ".join(f"{name} {version}" for name, version in versions.items())
    legend = "\n".join(
        f"- {SYMBOLS[name]} **{name}**: {words}." for name, words in verdicts_in(record).items()
    )
    reading = (
        "(fixed): right only if the file is exported with fixed input sizes and batch; OpenCV"
        " refuses the dynamic file. *use with*: the combination advised above, unless it is wrong"
        " here, or another right one avoids fixed sizes or takes less than"
        f" {100 * CLEARLY_FASTER_RATIO:.0f} % of its time; then the fastest right one, without"
        " fixed sizes if possible. *ms*: one image on one core in OpenCV (as advised), ONNX Runtime"
        " and PyTorch; a rough figure, since other models ran at the same time. *rel* in a"
        " footnote: the largest difference of the logits, over the largest logit."
    )
    if mended_counts(record):
        reading += (
            " *→ mended*: right with a dynamic file after `make mend`, by the rules named; the"
            " original's verdict stands before the arrow."
        )
    if has_exactness(record):
        reading += " *exact*: the ratio defined above, of OpenCV (as advised)."
    table, notes = models_table(record)
    return (
        "\n\n".join(
            [
                f"# Which {models} survive in OpenCV",
                _filled(intro),
                _filled(f"{libraries}; {', '.join(record['processors'])}."),
                totals(record).rstrip("\n"),
                _filled(advise(record).text()),
                *upgrade_sections(record),
                *exactness_sections(record, yardstick),
                f"![Verdict of each model and combination]({picture})",
                legend,
                _filled(reading),
                table.rstrip("\n"),
                "\n".join(notes),
            ]
        )
        + "\n"
    )


def readme_block(record: Record) -> str:
    """The totals and the advice, in Markdown."""
    return f"{totals(record)}\n{_filled(advise(record).text())}\n"


def images_text(record: Record) -> str:
    """What each file is run on, in words."""
    constants = record["constants"]
    sizes = "; ".join(f"{task} {', '.join(sizes)}" for task, sizes in constants["sizes"].items())
    if any("own" in model for model in record["models"].values()):
        sizes += ", or the size beside the model's name"
    return (
        f"{constants['images']} images, each alone and all as one batch; {sizes}. Each file runs a"
        f" second time, and in {len(constants['perturb'])} fresh processes whose heap is dirtied"
        " first where the system allows it: not a bit may change."
    )


def totals(record: Record) -> str:
    """How many models have which label: a table with a row for each combination."""
    counts = {combination: Counter() for combination in combinations_of(record)}
    for (_, combination), cell in cells_of(record).items():
        counts[combination][label_of(cell)] += 1
    used = [label for label in LABELS if any(count[label] for count in counts.values())]
    mended = mended_counts(record)
    lines = [["exporter and opset, engine and OpenCV", "models", *used]]
    lines[0] += ["same after `make mend`"] if mended else []
    for combination, count in counts.items():
        numbers = [count.total(), *(count[label] for label in used)]
        if mended:
            numbers.append(mended.get(combination, "-"))
        lines.append([str(combination), *map(str, numbers)])
    return markdown_table(lines, left=1)


def mended_counts(record: Record) -> dict[Combination, int]:
    """How many models are right with a dynamic file, as exported or mended, in each combination
    where every failing cell that a rule may help was mended."""
    cells = cells_of(record)
    tried = {combination for (_, combination), cell in cells.items() if cell.get("mended")}
    return {
        combination: sum(
            label_of(cell) == "same" or is_mended(cell)
            for (_, one), cell in cells.items()
            if one == combination
        )
        for combination in tried
    }


def upgrade_sections(record: Record) -> list[str]:
    """A folded section for each upgrade of OpenCV and engine."""
    return [
        f"<details><summary>{title}</summary>\n\n```\n"
        + ("\n".join(lines) or "no verdict changes")
        + "\n```\n\n</details>"
        for title, lines in upgrades(record)
    ]


def has_exactness(record: Record) -> bool:
    """Whether the record was measured against float64; those of METHOD 2 were not."""
    return any("exactness" in cell for cell in cells_of(record).values())


def exactness_sections(record: Record, yardstick: str) -> list[str]:
    """How exact each combination is, and which cells are imprecise; none for a record without
    exactness. `yardstick` links to the page that explains it."""
    if not has_exactness(record):
        return []
    tasks = sorted({model["task"] for model in record["models"].values()})
    limits = {task: f"{record['constants']['limits'][task]['exactness']:g}" for task in tasks}
    limit = ", ".join(f"{limit} ({task})" for task, limit in limits.items())
    intro = (
        "The network's outputs in float64 count as exact. The ratio is OpenCV's distance from them"
        f" over PyTorch's ([how it is measured]({yardstick})): 1 means as exact as PyTorch, and"
        f" rounding does not explain more than {limit}. The table counts the models that are"
        " *same* or *imprecise*."
    )
    sections = ["## How exact", _filled(intro), exactness_table(record).rstrip("\n")]
    if reasons := unmeasured_exactness(record):
        sections.append("\n".join(["Without exact outputs, `rel` alone judges:\n", *reasons]))
    if imprecise := imprecise_lines(record):
        sections += ["## Imprecise", "\n".join(imprecise)]
    return [*sections, "## All models"]


def exactness_table(record: Record) -> str:
    """The median and the largest ratio: a table with a row for each combination."""
    lines = [["exporter and opset, engine and OpenCV", "worst model", "models", "median", "worst"]]
    for combination in combinations_of(record):
        ratios = ratios_of(record, combination)
        worst = max(ratios, key=ratios.get, default=None)
        median = statistics.median(ratios.values()) if ratios else None
        numbers = [str(len(ratios)), ratio_text(median), ratio_text(ratios.get(worst))]
        lines.append([str(combination), worst or "-", *numbers])
    return markdown_table(lines, left=2)


def exactness_histogram(record: Record) -> str:
    """How many models' ratios lie in each range: a table with a row for each combination."""
    ranges = list(zip((0, *RATIOS), (*RATIOS, inf), strict=True))
    texts = [f"{low:g} to {high:g}" if high < inf else f"above {low:g}" for low, high in ranges]
    lines = [["exporter and opset, engine and OpenCV", *texts]]
    for combination in combinations_of(record):
        ratios = ratios_of(record, combination).values()
        counts = [sum(low < ratio <= high for ratio in ratios) for low, high in ranges]
        lines.append([str(combination), *map(str, counts)])
    return markdown_table(lines, left=1)


def ratios_of(record: Record, combination: Combination) -> dict[str, float]:
    """The ratio of each model that is right, or imprecise, in a combination."""
    return {
        name: cell["exactness"]
        for (name, one), cell in cells_of(record).items()
        if one == combination
        and cell["verdict"] in ("same", "imprecise")
        and cell["exactness"] is not None
    }


def unmeasured_exactness(record: Record) -> list[str]:
    """A line for each model that PyTorch runs, but not in float64, with the reason."""
    failures = {name: model.get("exact_failure") for name, model in record["models"].items()}
    return [f"- {name}: {_escaped(one['message'])}" for name, one in failures.items() if one]


def imprecise_lines(record: Record) -> list[str]:
    """A line for each imprecise cell, with its reason and owner."""
    return [
        f"- {name}, {combination}: {_reason_text(cell)}"
        for (name, combination), cell in cells_of(record).items()
        if cell["verdict"] == "imprecise"
    ]


def models_table(record: Record) -> tuple[str, list[str]]:
    """The table with a row for each model and a column for each combination, and its footnotes."""
    combinations, advice = combinations_of(record), advise(record)
    footnotes: dict[str, int] = {}
    header = ["model", "million", *map(str, combinations), f"use with {advice.opencv}", "ms"]
    with_exact = has_exactness(record)
    lines = [[*header, "exact"] if with_exact else header]
    for name, model in record["models"].items():
        cells = [cell_text(model["cells"].get(str(one)), footnotes) for one in combinations]
        use = advice.use(name)
        advised = (
            name_without_opencv(use) if use else "**none**" if advice.is_hopeless(name) else ""
        )
        size = "-" if model["parameters"] is None else f"{model['parameters']:.1f}"
        own_size = model.get("own", {}).get("size")
        title = f"{name} ({own_size})" if own_size else name
        line = [title, size, *cells, advised, times_text(model, use)]
        exact = ratio_text(model["cells"][str(use)].get("exactness") if use else None)
        lines.append([*line, exact] if with_exact else line)
    notes = [f"[^{number}]: {reason}" for reason, number in footnotes.items()]
    return markdown_table(lines, left=1), notes


def cell_text(cell: Figures | None, footnotes: dict[str, int]) -> str:
    """The text of a cell in the table; adds its reason to the footnotes."""
    if cell is None:
        return ""
    verdict = cell["verdict"]
    text = f"{SYMBOLS[verdict]} {'**different**' if verdict == 'different' else label_of(cell)}"
    if is_mended(cell):
        return f"{text} → {SYMBOLS['same']} mended: {counts_text(cell['mended']['rules'])}"
    if cell["reason"]:
        text += f"[^{footnotes.setdefault(_reason_text(cell), len(footnotes) + 1)}]"
    return text


def _reason_text(cell: Figures) -> str:
    owner = f" (owner: {cell['owner']})" if cell["owner"] else ""
    return _escaped(cell["reason"] + owner)


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


def times_text(model: Figures, use: Combination | None) -> str:
    """OpenCV's, ONNX Runtime's and PyTorch's time in ms."""
    cell = model["cells"][str(use)] if use else {"ms": None, "onnxruntime_ms": None}
    times = (cell["ms"], cell["onnxruntime_ms"], model["ms"])
    return " / ".join(
        "-" if time is None else f"{time:.0f}" if time > 10 else f"{time:.1f}" for time in times
    )


def _filled(text: str) -> str:
    return textwrap.fill(text, 100, break_long_words=False, break_on_hyphens=False)
