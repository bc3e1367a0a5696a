"""What `make coverage` found: metrics/coverage.json, COVERAGE.md and plots/coverage.png.

With `--compare` two such records, files or revisions of Git: what got better and what worse. Exit
code 1 where anything got worse.
"""

import argparse
import json
import subprocess
import sys
import textwrap
from collections import Counter
from pathlib import Path

from stages.common.cli import InputError, log, run
from stages.common.coverage import (
    VERDICTS,
    Figures,
    constants,
    judge,
    limits_of_a_process,
    read_cells,
    rel_text,
)
from stages.common.files import read_json, write_json, write_text
from stages.common.machine import machine
from stages.common.params import Params, load_params
from stages.common.tables import padded

RECORD = Path("metrics/coverage.json")
ANSWER = Path("COVERAGE.md")
PICTURE = Path("plots/coverage.png")

SYMBOLS = {
    "same": "✓",
    "vacuous": "?",
    "not exportable": "∅",
    "refused": "⊘",
    "timeout": "…",
    "crashed": "†",
    "unstable": "≈",
    "different": "✗",
}


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="stages.coverage_report", description=__doc__)
    parser.add_argument("--compare", nargs=2, metavar=("OLD", "NEW"))
    args = parser.parse_args(argv)
    if not args.compare:
        report(load_params())
        return
    old, new = (verdicts_of(read_record(one)) for one in args.compare)
    lines, worse = changes(old, new)
    print("\n".join(lines) or "no verdict changed")
    if worse:
        sys.exit(1)


def report(params: Params) -> None:
    """Write the record of all cells that hold, and what is made of it."""
    record = gather(params)
    if not record["models"]:
        log(f"{RECORD}: nothing was measured yet; `make coverage` does it")
        return
    write_json(RECORD, record)
    write_text(ANSWER, answer(record))
    draw(PICTURE, record, params.plot.dpi)
    print(totals(record), end="")
    log(f"{ANSWER}, {RECORD}, {PICTURE}")


# The record


def gather(params: Params) -> Figures:
    """All cells that hold, judged; those of the record that is there as well, if they were measured
    and judged in the same way, so that a narrowed run in a fresh clone keeps the others."""
    what = constants(params)
    del what["machine"]
    what["limits"] = params.gate.limits.model_dump() | {"spread": params.gate.spread}
    models: dict[str, Figures] = {}
    measured_on = machine()
    if RECORD.exists() and (old := read_json(RECORD))["constants"] == what:
        models, measured_on = old["models"], old["machine"]
    for figures in read_cells(params):
        measured_on = figures["depends"]["constants"]["machine"]
        model = models.setdefault(figures["model"], {"cells": {}})
        model["task"] = figures["task"]
        reference = figures["reference"]
        model |= {key: reference.get(key) for key in ("parameters", "spread", "noise", "ms")}
        model["cells"][column_of(figures)] = judged(figures, params)
    record = {"constants": what, "machine": measured_on, "models": dict(sorted(models.items()))}
    return record | {"limits_of_a_process": limits_of_a_process(params)}


def column_of(figures: Figures) -> str:
    exporter, opset = figures["exporter"], figures["opset"]
    return f"{exporter} {opset}, {figures['engine']} {figures['opencv']}"


def judged(figures: Figures, params: Params) -> Figures:
    verdict = judge(figures, params)
    first = figures["groups"][0]["ms"] if figures["groups"] else None
    cell = {"verdict": verdict.verdict, "owner": verdict.owner, "reason": verdict.reason}
    cell |= {"rel": verdict.rel, "fixed": verdict.fixed, "ms": first}
    return cell | {"onnxruntime_ms": figures["onnxruntime"]["ms"]}


def read_record(source: str) -> Figures:
    """A record by its path, or by a revision of Git that has it."""
    try:
        if Path(source).is_file():
            return read_json(Path(source))
        command = ["git", "show", f"{source}:{RECORD}"]
        if source.startswith("-"):
            raise InputError(f"{source}: found no file of this name; expected a record or revision")
        shown = subprocess.run(command, capture_output=True, text=True, check=False)
        if shown.returncode:
            raise InputError(f"{source}: neither a file nor a revision of Git that has {RECORD}")
        return json.loads(shown.stdout)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{source}: not a record of `make coverage`: {error}") from None


# The comparison

Verdicts = dict[tuple[str, str], str]  # by model and column


def verdicts_of(record: Figures) -> Verdicts:
    try:
        return {
            (model, column): cell["verdict"]
            for model, entry in record["models"].items()
            for column, cell in entry["cells"].items()
        }
    except (KeyError, TypeError, AttributeError):
        raise InputError("not a record of `make coverage`: it has no models with cells") from None


def changes(old: Verdicts, new: Verdicts) -> tuple[list[str], bool]:
    """Lines that say what got better and what worse, and whether anything got worse.

    Verdicts are ranked as in VERDICTS: what fails without a word is worse than what crashes.
    """
    rank = {name: number for number, name in enumerate(VERDICTS)}
    better, worse = [], []
    for key in sorted(old.keys() & new.keys()):
        if old[key] != new[key]:
            lines = worse if rank[new[key]] > rank[old[key]] else better
            lines.append(f"  {key[0]}, {key[1]}: {old[key]} -> {new[key]}")
    lines = []
    for name, some in (("worse", worse), ("better", better)):
        lines += [f"{name}: {len(some)}", *some] if some else []
    for name, some in (("only in the first", old.keys() - new), ("new", new.keys() - old)):
        if some:
            models = sorted({model for model, _ in some})
            lines.append(f"{name}: {len(some)} cells of {len(models)} models")
    return lines, bool(worse)


# COVERAGE.md


def answer(record: Figures) -> str:
    """The whole page, in Markdown."""
    versions = record["constants"]["versions"]
    libraries = ", ".join(f"{name} {version}" for name, version in versions.items())
    intro = (
        "Which of torchvision's models give in OpenCV's DNN module the answers that they give in"
        " PyTorch? Made by `make coverage`; the same for scripts is in"
        f" [{RECORD}]({RECORD}). Weights are random but calibrated, so that the answers depend on"
        " the image; what a model means in the field is not asked, only whether two backends"
        f" compute the same. {images_text(record)}"
    )
    legend = "\n".join(
        f"- {SYMBOLS[name]} **{name}**: {words}."
        for name, words in VERDICTS.items()
        if name in set(verdicts_of(record).values())
    )
    fixed = (
        "(fixed): the file of dynamic sizes or batch was refused, files of fixed ones are right."
        " *ms*: one image on one core in OpenCV (as advised), ONNX Runtime and PyTorch, roughly:"
        " other models ran beside. *rel* of a footnote: the largest difference of the logits over"
        " the largest logit."
    )
    table, notes = models_table(record)
    return (
        "\n\n".join(
            [
                "# Which models survive in OpenCV",
                _filled(intro),
                _filled(f"{libraries}; {record['machine']['cpu']}."),
                totals(record).rstrip("\n"),
                _filled(advice(record)),
                *upgrades(record),
                f"![Verdict of each model and combination]({PICTURE})",
                legend,
                _filled(fixed),
                table.rstrip("\n"),
                "\n".join(notes),
            ]
        )
        + "\n"
    )


def images_text(record: Figures) -> str:
    what = record["constants"]
    sizes = "; ".join(f"{task} {', '.join(sizes)}" for task, sizes in what["sizes"].items())
    return (
        f"{what['images']} images, each alone and all as one batch; {sizes}. Each file runs once"
        f" more, and in {len(what['perturb'])} fresh processes, whose heap is dirtied first where"
        " that can be done: not a bit may change."
    )


def _filled(text: str) -> str:
    return textwrap.fill(text, 100, break_long_words=False, break_on_hyphens=False)


def columns_of(record: Figures) -> list[str]:
    """The combinations, of the newest OpenCV first."""
    found = {column for model in record["models"].values() for column in model["cells"]}
    return sorted(sorted(found), key=lambda one: _version(opencv_of(one)), reverse=True)


def opencv_of(column: str) -> str:
    return column.rpartition(" ")[2]


def _version(text: str) -> list[int]:
    return [int(part) for part in text.split(".")]


def totals(record: Figures) -> str:
    """How many models have which verdict, a row a combination."""
    counts = {
        column: Counter(
            word_of(model["cells"][column])
            for model in record["models"].values()
            if column in model["cells"]
        )
        for column in columns_of(record)
    }
    names = ["same", "same (fixed)", *list(VERDICTS)[1:]]
    used = [name for name in names if any(count[name] for count in counts.values())]
    lines = [["exporter and opset, engine and OpenCV", "models", *used]]
    for column, count in counts.items():
        lines.append([column, str(count.total()), *(str(count[name]) for name in used)])
    return padded(lines, left=1)


def word_of(cell: Figures) -> str:
    return cell["verdict"] + (" (fixed)" if cell["fixed"] else "")


def advice(record: Figures) -> str:
    """What to use for a model that is not in the table, in words."""
    newest = opencv_of(columns_of(record)[0])
    right = {}
    for column in columns_of(record):
        if opencv_of(column) == newest:
            cells = [model["cells"].get(column) for model in record["models"].values()]
            words = Counter(word_of(cell) for cell in cells if cell)
            # Where as many are right, more of them in a file that takes any size.
            right[column] = (words["same"] + words["same (fixed)"], words["same"])
    best = max(right, key=right.get)
    total = len(record["models"])
    none = [name for name, model in record["models"].items() if not fastest(model, newest)]
    text = f"With OpenCV {newest}, use **{best.rpartition(' ')[0]}**: right for {right[best][0]} of"
    text += f" {total} models."
    if none:
        text += f" No combination is right for {', '.join(none)}."
    return text


def fastest(model: Figures, opencv: str) -> str | None:
    """The right combination of a version of OpenCV that took the least time; files of dynamic
    sizes come before those of fixed ones."""
    right = {
        column: cell
        for column, cell in model["cells"].items()
        if cell["verdict"] == "same" and opencv_of(column) == opencv
    }
    return min(right, key=lambda one: (right[one]["fixed"], right[one]["ms"]), default=None)


def upgrades(record: Figures) -> list[str]:
    """What a change from each older version of OpenCV to the newest would break and mend."""
    versions = list(dict.fromkeys(opencv_of(column) for column in columns_of(record)))
    verdicts, parts = verdicts_of(record), []
    for old in versions[1:]:
        for engine in engines_of(record, versions[0]):
            before = _with_engine(verdicts, old, engine)
            after = _with_engine(verdicts, versions[0], engine, engine)
            lines, _ = changes(before, after)
            title = f"From OpenCV {old} to {versions[0]}, engine {engine}"
            changed = [line for line in lines if not line.startswith(("only", "new"))]
            body = "\n".join(changed) or "no verdict changes"
            parts.append(f"<details><summary>{title}</summary>\n\n```\n{body}\n```\n\n</details>")
    return parts


def engines_of(record: Figures, opencv: str) -> list[str]:
    columns = [column for column in columns_of(record) if opencv_of(column) == opencv]
    return sorted({column.split(", ")[1].split()[0] for column in columns})


def _with_engine(verdicts: Verdicts, opencv: str, named: str, only: str = "") -> Verdicts:
    """The verdicts of a version by exporter, named as of one engine: an OpenCV that has `only` one
    gives all it has."""
    found = {}
    for (model, column), verdict in verdicts.items():
        exporter, _, engine = column.rpartition(" ")[0].partition(", ")
        if opencv_of(column) == opencv and engine == (only or engine):
            found[model, f"{exporter}, {named}"] = verdict
    return found


def models_table(record: Figures) -> tuple[str, list[str]]:
    """One row a model, one column a combination; and the footnotes with the reasons."""
    columns = columns_of(record)
    newest = opencv_of(columns[0])
    notes: dict[str, int] = {}
    lines = [["model", "million", *columns, f"use with {newest}", "ms"]]
    for name, model in record["models"].items():
        cells = [cell_text(model["cells"].get(column), notes) for column in columns]
        use = fastest(model, newest)
        size = "-" if model["parameters"] is None else f"{model['parameters']:.1f}"
        how = use.rpartition(" ")[0] if use else "**none**"
        lines.append([name, size, *cells, how, times_text(model, use)])
    written = [f"[^{number}]: {reason}" for reason, number in notes.items()]
    return padded(lines, left=1), written


def cell_text(cell: Figures | None, notes: dict[str, int]) -> str:
    if cell is None:
        return ""
    word = cell["verdict"]
    text = f"{SYMBOLS[word]} {'**different**' if word == 'different' else word_of(cell)}"
    if cell["reason"]:
        owner = f" (owner: {cell['owner']})" if cell["owner"] else ""
        reason = (cell["reason"] + owner).replace("|", "\\|").replace("<", "&lt;")
        text += f"[^{notes.setdefault(reason, len(notes) + 1)}]"
    return text


def times_text(model: Figures, use: str | None) -> str:
    cell = model["cells"][use] if use else {"ms": None, "onnxruntime_ms": None}
    times = (cell["ms"], cell["onnxruntime_ms"], model["ms"])
    return " / ".join(
        "-" if one is None else f"{one:.0f}" if one > 10 else f"{one:.1f}" for one in times
    )


# The picture

CELL_HEIGHT, CELL_WIDTH, NAMES_WIDTH = 0.155, 1.05, 2.0  # inches
# From the palette of Okabe and Ito; the two that nobody sees fail are the loudest.
COLORS = {
    "same": "#cfe8dc",
    "vacuous": "#dddddd",
    "not exportable": "#b8b8b8",
    "refused": "#f0e442",
    "timeout": "#e69f00",
    "crashed": "#56b4e9",
    "unstable": "#cc79a7",
    "different": "#d55e00",
}


def draw(path: Path, record: Figures, dpi: int) -> None:
    """A heat map: a row a model, a column a combination, the colour the verdict."""
    from matplotlib.patches import Patch, Rectangle

    from stages.common.charts import header, name_rows, new_figure

    columns, names = columns_of(record), list(record["models"])
    width = NAMES_WIDTH + CELL_WIDTH * max(len(columns), 4)
    height = CELL_HEIGHT * len(names) + 1.2
    with new_figure(path, width, height, dpi) as figure:
        axes = figure.add_subplot()
        for y, name in enumerate(names):
            for x, column in enumerate(columns):
                cell = record["models"][name]["cells"].get(column)
                if cell is None:
                    continue
                color = COLORS[cell["verdict"]]
                axes.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, color=color, ec="white", lw=0.8))
                axes.text(x, y, picture_text(cell), ha="center", va="center", fontsize=6)
        name_rows(axes, names)
        axes.set_xlim(-0.5, len(columns) - 0.5)
        axes.set_xticks(range(len(columns)), [one.replace(", ", "\n") for one in columns])
        axes.xaxis.tick_top()
        axes.tick_params(length=0, labelsize=7)
        for side in axes.spines.values():
            side.set_visible(False)
        used = [name for name in VERDICTS if name in set(verdicts_of(record).values())]
        handles = [Patch(color=COLORS[name], label=f"{name}: {VERDICTS[name]}") for name in used]
        figure.legend(handles=handles, loc="outside lower left", ncols=1, fontsize=7)
        header(
            figure,
            "torchvision's models in OpenCV, against PyTorch",
            "Exporter and opset, engine and version of OpenCV. In a cell the largest difference of"
            " the logits over the largest logit; fixed: only as a file of fixed sizes.",
        )


def picture_text(cell: Figures) -> str:
    if cell["verdict"] in ("same", "different", "unstable"):
        return rel_text(cell["rel"]) + (" fixed" if cell["fixed"] else "")
    return cell["verdict"]


if __name__ == "__main__":
    run(main)
