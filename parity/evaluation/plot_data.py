"""The figures behind the pictures, as CSV files that `dvc plots` draws.

A `label` names each row, as bars in a Vega template need. Figures keep every digit, so that no
99.9999999 becomes a 100; an undefined figure is an empty cell.
"""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, fields
from pathlib import Path

from parity.core.files import write_text
from parity.evaluation.results import PairParity, Results
from parity.evaluation.shown_times import mark

PER_CLASS_COLUMNS = ("class", "backend", "label", "value")
TIME_COLUMNS = ("model", "backend", "label", "median_ms", "p95_ms")
ACCURACY_COLUMNS = ("model", "backend", "label", "metric", "value")
EXACTNESS_COLUMNS = ("model", "backend", "label", "rel", "rms", "ratio")
PARITY_COLUMNS = ("model", "pair", "label", *(field.name for field in fields(PairParity)))


def write_per_class(
    path: Path, classes: Sequence[str], values: Mapping[str, Sequence[float]]
) -> None:
    """Write the value of each class in each backend, leaving out NaN: (C,) by backend."""
    rows = (
        (name, backend, f"{name}, {backend}", float(of_classes[index]))
        for index, name in enumerate(classes)
        for backend, of_classes in values.items()
        if of_classes[index] == of_classes[index]
    )
    _write_csv(path, PER_CLASS_COLUMNS, rows)


def write_times(path: Path, models: Sequence[Results]) -> None:
    """Write the times of each model in each backend; the label of disturbed ones is marked."""
    rows = (
        (results.model, backend, f"{results.model} {backend}{mark(results)}", *figures)
        for results in models
        if results.benchmark
        for backend, timing in results.benchmark.timings.items()
        for figures in [(timing.median_ms, timing.p95_ms)]
    )
    _write_csv(path, TIME_COLUMNS, rows)


def write_accuracy(path: Path, models: Sequence[Results]) -> None:
    rows = (
        (results.model, backend, f"{results.model} {backend}", results.metric, value)
        for results in models
        for backend, value in results.accuracy.items()
    )
    _write_csv(path, ACCURACY_COLUMNS, rows)


def write_parity(path: Path, models: Sequence[Results]) -> None:
    rows = (
        (results.model, pair, f"{results.model} {pair}", *astuple(parity))
        for results in models
        for pair, parity in results.parity.items()
    )
    _write_csv(path, PARITY_COLUMNS, rows)


def write_exactness(path: Path, models: Sequence[Results]) -> None:
    rows = (
        (results.model, backend, f"{results.model} {backend}", *figures)
        for results in models
        for backend, distance in results.exact.distances.items()
        for figures in [(*astuple(distance), results.exact.ratio.get(backend))]
    )
    _write_csv(path, EXACTNESS_COLUMNS, rows)


def _write_csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    write_text(path, text.getvalue())
