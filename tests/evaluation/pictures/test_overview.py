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

SPREAD, DPI = 0.01, 50
FAILED = replace(
    without("opencv"),
    parity={},
    benchmark=replace(BENCHMARK, timings={"pytorch": BENCHMARK.timings["pytorch"]}, ratio=None),
)


def parity_picture(path: Path, *models: Results) -> bytes:
    draw_parity(path, models, SPREAD, DPI)
    return path.read_bytes()


def test_all_kinds_of_models_share_the_pictures(tmp_path):
    slow = BENCHMARK.timings | {"opencv": Timing(median_ms=900.0, p95_ms=990.0, images_per_s=1.1)}
    models = [
        faithful(published=76.1),
        faithful(task="segmentation", benchmark=replace(BENCHMARK, timings=slow)),
        faithful({"opencv": None}, {SUM: {"rel": None}}, {"opencv": 3}),
        onnx_only(),
        FAILED,
    ]
    draw_times(tmp_path / "times.png", models, DPI)
    draw_accuracy(tmp_path / "accuracy.png", models, DPI)
    draw_parity(tmp_path / "parity.png", models, SPREAD, DPI)
    for path in tmp_path.iterdir():
        assert path.stat().st_size > 5000


def test_pictures_are_drawn_where_every_model_failed(tmp_path):
    draw_times(tmp_path / "times.png", [FAILED], DPI)
    draw_accuracy(tmp_path / "accuracy.png", [FAILED], DPI)
    draw_parity(tmp_path / "parity.png", [FAILED], SPREAD, DPI)
    for path in tmp_path.iterdir():
        assert path.stat().st_size > 2000


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
