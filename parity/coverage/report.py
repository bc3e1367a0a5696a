"""What `make coverage` found: metrics/coverage.json, COVERAGE.md and plots/coverage.png.

With `--compare` two such records, files or revisions of Git: what got better and what worse. Exit
code 1 where anything got worse.
"""

import json
import subprocess
import textwrap
from collections import Counter
from collections.abc import Collection
from pathlib import Path

from parity.core.cli import InputError, log
from parity.core.files import write_json, write_text
from parity.core.machine import cpu_model
from parity.core.markdown import markdown_table
from parity.core.params import Params
from parity.coverage.cells import (
    VERDICTS,
    Figures,
    column_of,
    constants,
    is_of_a_limit,
    judge,
    limits_of_a_process,
    read_cells,
    rel_text,
)

RECORD = Path("metrics/coverage.json")
ANSWER = Path("COVERAGE.md")
PICTURE = Path("plots/coverage.png")
# Times of single runs, beside which others ran: what is not faster by this much is not faster.
FASTER = 0.8

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


def report(params: Params) -> None:
    """Write the record of all cells that hold, and what is made of it."""
    check_record(params, ())
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


def check_record(params: Params, planned: Collection[tuple[str, str]]) -> None:
    """Raises InputError where the record that is there holds what a new one would not: cells that
    were measured or judged otherwise, and are neither on disk nor `planned` (model and column)."""
    if not RECORD.exists():
        return
    old = read_record(str(RECORD))
    stay, why = staying(old, params)
    there = {(figures["model"], column_of(figures)) for figures in read_cells(params)}
    lost = verdicts_of(old).keys() - stay.keys() - there - set(planned)
    if lost:
        models, columns = (len({key[part] for key in lost}) for part in (0, 1))
        raise InputError(
            f"{RECORD}: {len(lost)} of its cells ({models} models, {columns} combinations) are of"
            f" {why}; measure them anew in this run, or move the file away"
        )


def staying(old: Figures, params: Params) -> tuple[dict[tuple[str, str], Figures], str]:
    """The cells of a record that were measured and judged as they would be now, and what is other
    of those that were not."""
    differs = differences(old["constants"], what_holds(params))
    if differs:
        return {}, differs[0]
    limits, now = old["limits_of_a_process"], limits_of_a_process(params)
    cells = {
        (model, column): cell
        for model, entry in old["models"].items()
        for column, cell in entry["cells"].items()
        if limits == now or not is_of_a_limit({"kind": cell["verdict"], "message": cell["reason"]})
    }
    return cells, next(iter(differences(limits, now)), "")


def what_holds(params: Params) -> Figures:
    """What all of a record was measured and judged with."""
    what = constants(params)
    del what["machine"]
    limits = {task: {"rel": one.rel} for task, one in params.gate.limits}
    return what | {"limits": limits | {"spread": params.gate.spread}}


def differences(old: object, new: object, name: str = "") -> list[str]:
    """The keys that differ between two nested dicts, with both values, in words."""
    if isinstance(old, dict) and isinstance(new, dict):
        return [
            line
            for key in {**old, **new}
            for line in differences(old.get(key), new.get(key), f"{name}.{key}" if name else key)
        ]
    return [] if old == new else [f"{name} {_value(old)} (now {_value(new)})"]


def _value(value: object) -> str:
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def gather(params: Params) -> Figures:
    """All cells that hold, judged; those of the record that is there as well, if they were measured
    and judged in the same way, so that a narrowed run in a fresh clone keeps the others."""
    models: dict[str, Figures] = {}
    processors: set[str] = set()
    if RECORD.exists():
        old = read_record(str(RECORD))
        for (name, column), cell in staying(old, params)[0].items():
            entry = old["models"][name]
            models.setdefault(name, entry | {"cells": {}})["cells"][column] = cell
            processors |= set(old["processors"])
    for figures in read_cells(params):
        processors.add(cpu_model())
        model = models.setdefault(figures["model"], {"cells": {}})
        model["task"] = figures["task"]
        reference = figures["reference"]
        model |= {key: reference.get(key) for key in ("parameters", "spread", "noise", "ms")}
        model["cells"][column_of(figures)] = judged(figures, params)
    for model in models.values():
        model["cells"] = dict(sorted(model["cells"].items()))
    return {
        "constants": what_holds(params),
        "limits_of_a_process": limits_of_a_process(params),
        "processors": sorted(processors),
        "models": dict(sorted(models.items())),
    }


def judged(figures: Figures, params: Params) -> Figures:
    verdict = judge(figures, params)
    first = figures["groups"][0]["ms"] if figures["groups"] else None
    cell = {"verdict": verdict.verdict, "owner": verdict.owner, "reason": verdict.reason}
    cell |= {"rel": verdict.rel, "fixed": verdict.fixed, "ms": first}
    return cell | {"onnxruntime_ms": figures["onnxruntime"]["ms"]}


def read_record(source: str) -> Figures:
    """A record by its path, or by a revision of Git that has it."""
    if Path(source).is_file():
        text = Path(source).read_bytes()
    elif source.startswith("-"):
        raise InputError(f"{source}: found no file of this name; expected a record or revision")
    else:
        command = ["git", "show", f"{source}:{RECORD}"]
        shown = subprocess.run(command, capture_output=True, check=False)
        if shown.returncode:
            raise InputError(f"{source}: neither a file nor a revision of Git that has {RECORD}")
        text = shown.stdout
    try:
        record = json.loads(text)
        verdicts_of(record), record["constants"]["versions"], record["limits_of_a_process"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise InputError(f"{source}: not a record of `make coverage`: {reason}") from None
    return record


# The comparison

Verdicts = dict[tuple[str, str], str]  # by model and column
RANKS = ("same", "same (fixed)", *list(VERDICTS)[1:])  # best first


def verdicts_of(record: Figures) -> Verdicts:
    """The words of a record's cells, of RANKS."""
    return {
        (model, column): word_of(cell)
        for model, entry in record["models"].items()
        for column, cell in entry["cells"].items()
    }


def compare(old: Figures, new: Figures) -> tuple[list[str], bool]:
    """Lines that say what got better and what worse between two records, and whether anything got
    worse; before them, what else differs. Raises InputError where they have no cell in common.

    The version of OpenCV is left out of the names where each record has one alone, and so is an
    exporter's opset: else nothing would be in common.
    """
    both, shared = [], in_all(old) & in_all(new)
    for record in (old, new):
        words = verdicts_of(record).items()
        both.append({(model, shortened(column, shared)): word for (model, column), word in words})
    if not both[0].keys() & both[1].keys():
        raise InputError("the two records have no model and combination in common")
    lines = []
    versions = [sorted({opencv_of(one) for one in columns_of(record)}) for record in (old, new)]
    if versions[0] != versions[1]:
        lines.append(f"OpenCV {', '.join(versions[0])} -> {', '.join(versions[1])}")
    for line in differences(old["constants"], new["constants"]):
        lines.append(f"measured otherwise: {line}")
    changed, worse = changes(*both)
    return lines + (changed or ["no verdict changed"]), worse


def in_all(record: Figures) -> set[str]:
    """What is the same in all of a record's columns: `OpenCV` where that is its version, and the
    exporters with one opset alone."""
    columns = columns_of(record)
    one_version = len({opencv_of(column) for column in columns}) == 1
    opsets: dict[str, set[str]] = {}
    for column in columns:
        exporter, opset = column.partition(",")[0].split()
        opsets.setdefault(exporter, set()).add(opset)
    found = {exporter for exporter, several in opsets.items() if len(several) == 1}
    return found | {"OpenCV"} if one_version else found


def shortened(column: str, shared: set[str]) -> str:
    """A column's name without the version and the opset, where these are `shared`."""
    how, _, engine = column.partition(", ")
    exporter = how.split()[0]
    name = exporter if exporter in shared else how
    return f"{name}, {engine.split()[0] if 'OpenCV' in shared else engine}"


def changes(old: Verdicts, new: Verdicts) -> tuple[list[str], bool]:
    """Lines that say what got better and what worse, and whether anything got worse.

    Verdicts are ranked as in RANKS: what fails without a word is worse than what crashes.
    """
    better, worse = [], []
    for key in sorted(old.keys() & new.keys()):
        if old[key] != new[key]:
            lines = worse if RANKS.index(new[key]) > RANKS.index(old[key]) else better
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
        f"- {SYMBOLS[name]} **{name}**: {words}." for name, words in used_verdicts(record).items()
    )
    fixed = (
        "(fixed): the file of dynamic sizes or batch was refused, files of fixed ones are right."
        " *use with*: the combination advised above where it is right and no other takes less than"
        f" {100 * FASTER:.0f} % of its time, else the fastest that is right. *ms*: one image on one"
        " core in OpenCV (as advised), ONNX Runtime and PyTorch, roughly: other models ran beside."
        " *rel* of a footnote: the largest difference of the logits over the largest logit."
    )
    table, notes = models_table(record)
    return (
        "\n\n".join(
            [
                "# Which models survive in OpenCV",
                _filled(intro),
                _filled(f"{libraries}; {', '.join(record['processors'])}."),
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


def short(record: Figures) -> str:
    """The totals and the advice, in Markdown."""
    return f"{totals(record)}\n{_filled(advice(record))}\n"


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
    used = [name for name in RANKS if any(count[name] for count in counts.values())]
    lines = [["exporter and opset, engine and OpenCV", "models", *used]]
    for column, count in counts.items():
        lines.append([column, str(count.total()), *(str(count[name]) for name in used)])
    return markdown_table(lines, left=1)


def word_of(cell: Figures) -> str:
    return cell["verdict"] + (" (fixed)" if cell["fixed"] else "")


def used_verdicts(record: Figures) -> dict[str, str]:
    """Of VERDICTS those that the record has, in words."""
    found = {cell["verdict"] for one in record["models"].values() for cell in one["cells"].values()}
    return {name: words for name, words in VERDICTS.items() if name in found}


def cells_of(model: Figures, opencv: str) -> dict[str, Figures]:
    """A model's cells of one version of OpenCV, by column."""
    return {one: cell for one, cell in model["cells"].items() if opencv_of(one) == opencv}


def advised_opencv(record: Figures) -> str:
    """The newest of the versions of OpenCV that most models were tried with."""
    models = record["models"].values()
    versions = list(dict.fromkeys(opencv_of(column) for column in columns_of(record)))
    return max(versions, key=lambda one: sum(bool(cells_of(model, one)) for model in models))


def advised(record: Figures) -> str:
    """The combination of that version that is right for most models; of several the one that takes
    any size more often."""
    counts = {}
    opencv = advised_opencv(record)
    for column in columns_of(record):
        if opencv_of(column) == opencv:
            cells = [model["cells"].get(column) for model in record["models"].values()]
            words = Counter(word_of(cell) for cell in cells if cell)
            counts[column] = (words["same"] + words["same (fixed)"], words["same"])
    return max(counts, key=counts.get)


def advice(record: Figures) -> str:
    """What to use for a model that is not in the table, in words."""
    best, opencv = advised(record), advised_opencv(record)
    tried = [model["cells"][best] for model in record["models"].values() if best in model["cells"]]
    right = sum(cell["verdict"] == "same" for cell in tried)
    none = [name for name in record["models"] if use_of(record, name) == ""]
    text = f"With OpenCV {opencv}, use **{best.rpartition(' ')[0]}**: right for {right} of"
    text += f" {len(tried)} models."
    if none:
        text += f" No combination is right for {', '.join(none)}."
    return text


def use_of(record: Figures, name: str) -> str | None:
    """The column to use for a model: the advised one where it is right, takes any size as well as
    another, and no other is clearly faster (FASTER); else the fastest right one. Empty where none
    is right, None where not all that the advised version has was tried."""
    opencv, best = advised_opencv(record), advised(record)
    cells = cells_of(record["models"][name], opencv)
    right = {column: cell for column, cell in cells.items() if cell["verdict"] == "same"}
    if not right:
        every = {column for column in columns_of(record) if opencv_of(column) == opencv}
        return "" if cells.keys() == every else None

    def cost(column: str, share: float = 1) -> tuple[bool, float]:
        return right[column]["fixed"], share * right[column]["ms"]

    fastest = min(right, key=cost)
    return best if best in right and cost(best, FASTER) <= cost(fastest) else fastest


def upgrades(record: Figures) -> list[str]:
    """What a change from each older version of OpenCV to the newest would break and mend, a part a
    version and engine of the newest: against the same engine of the older one, or its only one."""
    versions = list(dict.fromkeys(opencv_of(column) for column in columns_of(record)))
    newest, parts = versions[0], []
    for old in versions[1:]:
        known = engines_of(record, old)
        for engine in engines_of(record, newest):
            before = engine if engine in known else known[0] if len(known) == 1 else None
            if before is None:
                continue
            verdicts = _of_engine(record, old, before), _of_engine(record, newest, engine)
            lines, _ = changes(*verdicts)
            title = f"From OpenCV {old} to {newest}, engine {engine}"
            title += f" in place of {before}" if engine != before else ""
            changed = [line for line in lines if not line.startswith(("only", "new"))]
            body = "\n".join(changed) or "no verdict changes"
            parts.append(f"<details><summary>{title}</summary>\n\n```\n{body}\n```\n\n</details>")
    return parts


def engines_of(record: Figures, opencv: str) -> list[str]:
    columns = [column for column in columns_of(record) if opencv_of(column) == opencv]
    return sorted({engine_of(column) for column in columns})


def engine_of(column: str) -> str:
    return column.split(", ")[1].split()[0]


def _of_engine(record: Figures, opencv: str, engine: str) -> Verdicts:
    """The verdicts of a version's engine, by model and exporter."""
    return {
        (model, column.partition(",")[0]): word
        for (model, column), word in verdicts_of(record).items()
        if opencv_of(column) == opencv and engine_of(column) == engine
    }


def models_table(record: Figures) -> tuple[str, list[str]]:
    """One row a model, one column a combination; and the footnotes with the reasons."""
    columns = columns_of(record)
    notes: dict[str, int] = {}
    lines = [["model", "million", *columns, f"use with {advised_opencv(record)}", "ms"]]
    for name, model in record["models"].items():
        cells = [cell_text(model["cells"].get(column), notes) for column in columns]
        use = use_of(record, name)
        size = "-" if model["parameters"] is None else f"{model['parameters']:.1f}"
        how = use.rpartition(" ")[0] if use else "" if use is None else "**none**"
        lines.append([name, size, *cells, how, times_text(model, use)])
    written = [f"[^{number}]: {reason}" for reason, number in notes.items()]
    return markdown_table(lines, left=1), written


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

    from parity.evaluation.charts import header, name_rows, new_figure

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
        handles = [
            Patch(color=COLORS[name], label=f"{name}: {words}")
            for name, words in used_verdicts(record).items()
        ]
        figure.legend(handles=handles, loc="outside lower left", ncols=1, fontsize=7)
        header(
            figure,
            "torchvision's models in OpenCV, against PyTorch",
            "Exporter and opset, engine and version of OpenCV. In a cell the largest difference of"
            " the logits over the largest logit; fixed: only as a file of fixed sizes.",
        )


def picture_text(cell: Figures) -> str:
    if cell["verdict"] in ("same", "different", "unstable") and cell["rel"] is not None:
        return rel_text(cell["rel"]) + (" fixed" if cell["fixed"] else "")
    return cell["verdict"]
