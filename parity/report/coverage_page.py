"""The zoo as a page: the table of COVERAGE.md with filters; a click on a cell shows its figures."""

import re
from dataclasses import dataclass
from pathlib import Path

from parity.core.markdown import NOTHING, ratio_text
from parity.core.paths import reproducer_folder
from parity.coverage.advice import advise, name_without_opencv, upgrades
from parity.coverage.cell_verdict import rel_text
from parity.coverage.cells import RECORD, Combination, Figures, of_zoo
from parity.coverage.colors import COLORS
from parity.coverage.record import (
    LABELS,
    Record,
    combinations_of,
    is_mended,
    label_of,
    labels_of,
    read_record,
    verdicts_in,
    zoo_of,
)
from parity.coverage.report import SYMBOLS, command, images_text, mended_counts, times_text
from parity.evaluation.summary import milliseconds
from parity.mending.steps import counts_text
from parity.report.html import source, write_page

PAGE = Path("plots/coverage.html")
# What a family of networks is called: the name up to its size or version.
FAMILY = re.compile(r"(?:wide_|tf_)?[a-z]+?(?=v?\d|_|\W|$)", re.IGNORECASE)


@dataclass(frozen=True)
class ZooCell:
    """A cell of the table: its word, its background, and what a click shows, by heading."""

    verdict: str
    symbol: str
    text: str
    background: str
    more: dict[str, str]


@dataclass(frozen=True)
class ZooRow:
    """A model with a cell for each combination, None where it was not tried."""

    name: str
    family: str
    size: str
    cells: tuple[ZooCell | None, ...]
    advised: str
    times: str


def write_coverage_pages() -> list[Path]:
    """Write the page of each zoo that has a record; returns where. Raises InputError."""
    records = sorted(RECORD.parent.glob(f"{RECORD.stem}*{RECORD.suffix}"))
    return [write_coverage_page(path) for path in records]


def write_coverage_page(path: Path) -> Path:
    """Write the page of the record of a zoo at `path`; returns where. Raises InputError."""
    record = read_record(path)
    page, zoo = of_zoo(PAGE, zoo_of(record)), zoo_of(record)
    combinations = combinations_of(record)
    rows = zoo_rows(record, combinations)
    write_page(
        page,
        "coverage.html",
        [source("tables.js")],
        zoo=zoo,
        command=command(zoo),
        advice=advise(record).text().replace("**", ""),
        images=images_text(record),
        versions=record["constants"]["versions"],
        processors=record["processors"],
        combinations=combinations,
        choices={
            "exporter": sorted({one.exporter for one in combinations}),
            "engine": sorted({one.engine for one in combinations}),
            "opencv": list(dict.fromkeys(one.opencv for one in combinations)),
        },
        opencv=advise(record).opencv,
        verdicts=verdicts_in(record),
        families=sorted({row.family for row in rows}),
        symbols=SYMBOLS,
        colors=COLORS,
        counts=count_rows(record, combinations),
        rows=rows,
        upgrades=upgrades(record),
    )
    return page


def zoo_rows(record: Record, combinations: list[Combination]) -> list[ZooRow]:
    """Return a row for each model of a record."""
    advice, rows = advise(record), []
    for name, model in record["models"].items():
        use = advice.use(name)
        size = model["parameters"]
        rows.append(
            ZooRow(
                name=name,
                family=family_of(name),
                size=NOTHING if size is None else f"{size:.1f}",
                cells=tuple(zoo_cell(name, model, combination) for combination in combinations),
                advised=name_without_opencv(use)
                if use
                else ("none" if advice.is_hopeless(name) else ""),
                times=times_text(model, use),
            )
        )
    return rows


def zoo_cell(name: str, model: Figures, combination: Combination) -> ZooCell | None:
    """Return a cell of a model; None where the combination was not tried."""
    cell = model["cells"].get(str(combination))
    if cell is None:
        return None
    verdict, mended = cell["verdict"], cell.get("mended")
    text = label_of(cell) + (" → mended" if is_mended(cell) else "")
    times = {"OpenCV": cell["ms"], "ONNX Runtime": cell["onnxruntime_ms"], "PyTorch": model["ms"]}
    more = {
        "verdict": label_of(cell),
        "reason": cell["reason"],
        "owner": cell["owner"],
        "rel": None if cell["rel"] is None else rel_text(cell["rel"]),
        "exactness": None if cell.get("exactness") is None else ratio_text(cell["exactness"]),
        "one image": ", ".join(
            f"{backend} {milliseconds(ms)} ms" for backend, ms in times.items() if ms is not None
        ),
    }
    if mended:
        rules = counts_text(mended["rules"])
        words = [mended["verdict"] or "not mended", rules, mended["reason"]]
        more["after make mend"] = ", ".join(filter(None, words))
    folder = reproducer_folder(name)
    if verdict != "same" and folder.is_dir():
        more["reproducer"] = f"{folder}/ in the repository"
    return ZooCell(
        verdict=verdict,
        symbol=SYMBOLS[verdict],
        text=text,
        background=before_and_after(verdict) if is_mended(cell) else COLORS[verdict],
        more={heading: words for heading, words in more.items() if words},
    )


def before_and_after(verdict: str) -> str:
    """The background of a cell that mending made right."""
    return f"linear-gradient(90deg, {COLORS[verdict]} 50%, {COLORS['same']} 50%)"


def family_of(name: str) -> str:
    """Return the family of a network by its name: `mobilenet` of mobilenet_v3_small."""
    found = FAMILY.match(name)
    return found[0].lower() if found else name


def count_rows(record: Record, combinations: list[Combination]) -> list[tuple[str, ...]]:
    """Return a header and, for each combination, how many models have which label."""
    labels, mended = labels_of(record), mended_counts(record)
    used = [label for label in LABELS if label in labels.values()]
    rows = [("combination", "models", *used, *(["same after make mend"] if mended else []))]
    for combination in combinations:
        found = [label for (_, one), label in labels.items() if one == combination]
        numbers = [len(found), *(found.count(label) for label in used)]
        numbers += [mended.get(combination, NOTHING)] if mended else []
        rows.append((str(combination), *map(str, numbers)))
    return rows
