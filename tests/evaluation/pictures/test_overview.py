"""The pictures of all models side by side."""

from dataclasses import replace
from pathlib import Path

import pytest
from helpers.results import BENCHMARK, SUM, every_pair, faithful, onnx_only, without

from parity.evaluation.pictures.overview import (
    decades_around,
    draw_accuracy,
    draw_parity,
    draw_times,
)
from parity.evaluation.results import Results, Timing

SPREAD, LIMIT, DPI = 0.01, 1e-4, 50
FAILED = replace(
    without("opencv"),
    parity={},
    benchmark=replace(BENCHMARK, timings={"pytorch": BENCHMARK.timings["pytorch"]}, ratio=None),
)


def parity_picture(path: Path, *models: Results) -> bytes:
    draw_parity(path, models, [LIMIT] * len(models), SPREAD, DPI)
    return path.read_bytes()


def test_all_kinds_of_models_share_the_pictures(tmp_path):
    models = [
        faithful(published=76.1),
        faithful(task="segmentation", benchmark=replace(BENCHMARK, timings=SLOW)),
        faithful({"opencv": None}, {SUM: {"rel": None}}, {"opencv": 3}),
        onnx_only(),
        FAILED,
    ]
    draw_times(tmp_path / "times.png", models, DPI)
    draw_accuracy(tmp_path / "accuracy.png", models, DPI)
    draw_parity(tmp_path / "parity.png", models, [LIMIT] * len(models), SPREAD, DPI)
    for path in tmp_path.iterdir():
        assert path.stat().st_size > 5000


def test_pictures_are_drawn_where_every_model_failed(tmp_path):
    draw_times(tmp_path / "times.png", [FAILED], DPI)
    draw_accuracy(tmp_path / "accuracy.png", [FAILED], DPI)
    draw_parity(tmp_path / "parity.png", [FAILED], [LIMIT], SPREAD, DPI)
    for path in tmp_path.iterdir():
        assert path.stat().st_size > 2000


SLOW = BENCHMARK.timings | {"opencv": Timing(median_ms=900.0, p95_ms=990.0, images_per_s=1.1)}


@pytest.mark.parametrize(
    ("timings", "scale"), [(BENCHMARK.timings, "linear"), (SLOW, "log")], ids=["linear", "log"]
)
def test_a_time_is_a_point_with_an_interval_wherever_the_axis_starts(
    tmp_path, written, timings, scale
):
    benchmark = replace(BENCHMARK, timings=timings)
    draw_times(tmp_path / "a.png", [faithful(benchmark=benchmark)], DPI)
    (axes,) = written.figure.axes
    assert axes.get_xscale() == scale and not axes.patches
    drawn = {tuple(line.get_xdata()) for line in axes.lines}
    for timing in timings.values():
        assert {(timing.median_ms,), (timing.median_ms, timing.p95_ms)} <= drawn


def limits_drawn(written) -> list[tuple[float, float, float]]:
    """Each limit with the first and the last row that its line passes."""
    lines = [line.get_xydata() for line in written.figure.axes[0].lines if line.is_dashed()]
    return [(x, top + 0.5, bottom - 0.5) for (x, top), (_, bottom) in lines]


def test_the_limit_of_the_gate_is_a_line_with_its_value(tmp_path, written):
    draw_parity(tmp_path / "a.png", [faithful()] * 3, [1e-4, 1e-3, 1e-3], SPREAD, DPI)
    assert limits_drawn(written) == [(1e-4, 0, 0), (1e-3, 1, 2)]
    assert [text for text in written.texts if text.startswith("limit ")] == [
        "limit 0.0001",
        "limit 0.001",
    ]
    draw_parity(tmp_path / "a.png", [faithful()], [0.5], SPREAD, DPI)
    low, high = written.figure.axes[0].get_xlim()
    assert low < 1e-6 < 0.5 < high, "the limit is in the picture, however far from the dots"
    assert "limit 0.5" in written.texts


def test_disturbed_times_look_otherwise_and_missing_ones_are_explained(tmp_path):
    conditions = replace(BENCHMARK.conditions, disturbed="others took 60 %")
    disturbed = faithful(benchmark=replace(BENCHMARK, conditions=conditions))
    foreign = faithful().without_times("measured on another machine")
    drawn = []
    for number, models in enumerate([[faithful()], [disturbed], [foreign], [faithful(), foreign]]):
        draw_times(tmp_path / f"{number}.png", models, DPI)
        drawn.append((tmp_path / f"{number}.png").read_bytes())
    assert len(set(drawn)) == 4


def test_a_vacuous_agreement_is_not_drawn_as_100_percent(tmp_path):
    wide = parity_picture(tmp_path / "a.png", faithful(parity=every_pair(spread=0.5)))
    narrow = parity_picture(tmp_path / "b.png", faithful(parity=every_pair(spread=SPREAD)))
    vacuous = parity_picture(tmp_path / "c.png", faithful(parity=every_pair(spread=0.009)))
    assert wide == narrow != vacuous


@pytest.mark.parametrize(
    ("values", "limits"),
    [
        ([2e-6, 3e-5], (1e-6, 1e-4)),
        ([2e-6, 3e-5, None], (1e-6, 1e-4)),
        ([2e-6, 0.0], (1e-7, 1e-5)),
        ([], (1e-9, 1e-5)),
    ],
)
def test_the_axis_has_whole_decades_around_all_values(values, limits):
    assert decades_around(values) == pytest.approx(limits)
