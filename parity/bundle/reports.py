"""The reports that devices send home, side by side."""

import json
from dataclasses import dataclass
from pathlib import Path

from parity.bundle.content import FORMAT
from parity.core.cli import InputError
from parity.core.files import read_regular
from parity.core.markdown import NOTHING, difference_text, markdown_table

STEPS = ("files", "decoding", "preprocessing", "network", "chain")
HEADER = ["device", "model", "runner", "OpenCV", "CPU", "ran", *STEPS, "rel", "ms"]
LARGEST = 2**20  # bytes of a report


@dataclass(frozen=True)
class Report:
    """What a device found: `results` has the result of each step; `text` is that of the first step
    that failed. `rel` and `milliseconds` are None where the network gave no answer."""

    device: str
    model: str
    runner: str
    opencv: str
    cpu: str
    ran: str
    passed: bool
    results: dict[str, str]
    text: str
    rel: float | None
    milliseconds: float | None

    def row(self) -> list[str]:
        steps = [self.results.get(step, NOTHING) for step in STEPS]
        time = NOTHING if self.milliseconds is None else f"{self.milliseconds:.1f}"
        cells = [self.device, self.model, self.runner, self.opencv, self.cpu, self.ran, *steps]
        return [*map(_cell, cells), difference_text(self.rel), time]


def read_report(path: Path) -> Report:
    """Read what `--verify --report` wrote; raises InputError for another file."""
    data = read_regular(path, LARGEST)
    try:
        content = json.loads(data)
        if content["format"] != FORMAT:
            raise ValueError(f"found the format {content['format']!r}; expected {FORMAT}")
        steps, here = content["steps"], content["environment"]
        failed = [one["text"] for one in steps.values() if one["result"] == "fail"]
        rel, time = steps["network"].get("rel"), content.get("milliseconds")
        return Report(
            device=path.stem,
            model=str(content["model"]),
            runner=str(content["runner"]),
            opencv=str(here["opencv"]),
            cpu=f"{here['processor']} ({here['machine']})",
            ran=f"{here['engine']}, {here['target']}",
            passed=content["passed"] is True,
            results={name: str(step["result"]) for name, step in steps.items()},
            text=str(failed[0]) if failed else "",
            rel=None if rel is None else float(rel),
            milliseconds=None if time is None else float(time),
        )
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:120]
        raise InputError(f"{path}: not a report of run_onnx --verify ({reason})") from None


def device_table(reports: list[Report]) -> str:
    """Return a row for each device in markdown, and below a line for each that failed.

    Raises InputError for reports of different models: their figures are not comparable.
    """
    models = sorted({report.model for report in reports})
    if len(models) > 1:
        raise InputError(f"found reports of {', '.join(models)}; expected those of one model")
    table = markdown_table([HEADER, *(report.row() for report in reports)], left=11)
    return table + "".join(f"\n{_cell(line)}\n" for line in failures_of(reports))


def device_rows(reports: list[Report]) -> list[list[str]]:
    """Return the same table for the section of its model: the header and the rows, without the
    model's name."""
    place = HEADER.index("model")
    table = [HEADER, *(report.row() for report in reports)]
    return [row[:place] + row[place + 1 :] for row in table]


def failures_of(reports: list[Report]) -> list[str]:
    """A line for each device that failed."""
    return [f"{one.device}: {one.text}" for one in reports if not one.passed]


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "/").split())
