"""The picture of `make coverage`: the verdict of each model and combination as a colour."""

from pathlib import Path

from parity.coverage.cell_verdict import rel_text
from parity.coverage.cells import Figures
from parity.coverage.colors import COLORS
from parity.coverage.record import (
    Record,
    cells_of,
    combinations_of,
    is_mended,
    verdicts_in,
    zoo_of,
)

COMPARED = ("same", "imprecise", "different", "unstable")  # verdicts on outputs
CELL_HEIGHT, CELL_WIDTH, NAMES_WIDTH = 0.155, 1.05, 2.0  # inches


def draw(path: Path, record: Record, dpi: int) -> None:
    """Draw a heat map with a row for each model and a column for each combination."""
    from matplotlib.patches import Rectangle

    from parity.evaluation.charts import (
        header,
        name_columns,
        name_rows,
        new_figure,
        verdict_legend,
    )

    mended = any(map(is_mended, cells_of(record).values()))
    columns, names = list(map(str, combinations_of(record))), list(record["models"])
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
                if is_mended(cell):
                    right = {"color": COLORS["same"], "ec": "white", "lw": 0.8}
                    axes.add_patch(Rectangle((x, y - 0.5), 0.5, 1, **right))
                axes.text(x, y, cell_text(cell), ha="center", va="center", fontsize=6)
        name_rows(axes, names)
        axes.set_xlim(-0.5, len(columns) - 0.5)
        name_columns(axes, range(len(columns)), [column.replace(", ", "\n") for column in columns])
        verdict_legend(figure, COLORS, verdicts_in(record))
        header(
            figure,
            f"{zoo_of(record)}'s models in OpenCV, against PyTorch",
            "Exporter and opset, engine and version of OpenCV. A cell shows the largest difference"
            " of the logits, over the largest logit, after the verdict where it is not right;"
            " fixed: only as a file of fixed sizes"
            + ("; two colours: before and after `make mend`." if mended else "."),
        )


def cell_text(cell: Figures) -> str:
    """The relative difference, where there are outputs to compare, after the verdict of a cell that
    is not right; else the verdict alone. Of a mended cell both: before and after."""
    verdict = cell["verdict"]
    if is_mended(cell):
        return f"{'fixed' if cell['fixed'] else verdict} → {rel_text(cell['mended']['rel'])}"
    if verdict not in COMPARED or cell["rel"] is None:
        return verdict
    if verdict == "same":
        return f"{rel_text(cell['rel'])} fixed" if cell["fixed"] else rel_text(cell["rel"])
    return f"{verdict} {rel_text(cell['rel'])}"
