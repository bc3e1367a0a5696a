import json

import numpy as np
import pytest
from helpers.refusals import refused

from tools import benchmark_loop, benchmark_pipeline
from tools.benchmark_pipeline import ratio_with_interval, time_in_turn

MODEL = "squeezenet1_1"


def result(capsys) -> dict:
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def test_the_loop_runs_both_networks_on_every_image(converted, capsys):
    benchmark_loop.main([MODEL])
    found = result(capsys)
    assert found["images"] == 10
    assert found["agreement"] == 1


@pytest.mark.process
def test_the_stages_and_the_loop_are_timed_on_the_same_images(converted, capsys):
    before = sorted(converted.rglob("*"))
    benchmark_pipeline.main([f"--model={MODEL}", "--images=4", "--rounds=2"])
    found = result(capsys)
    assert (found["model"], found["images"], found["rounds"]) == (MODEL, 4, 2)
    assert 0 < found["low"] <= found["ratio"] <= found["high"]
    # Both candidates start a Python or more for each image that they take.
    assert min(found["loop_ms"], found["stages_ms"]) > 100
    assert sorted(converted.rglob("*")) == before


def test_every_other_round_runs_in_reverse(monkeypatch, tmp_path):
    ran = []

    def seconds_of(commands, folder):
        ran.append(commands)
        return float(len(ran))

    monkeypatch.setattr(benchmark_pipeline, "seconds_of", seconds_of)
    times = time_in_turn(["loop", "stages"], tmp_path, 3)
    assert ran == ["loop", "stages", "stages", "loop", "loop", "stages"]
    np.testing.assert_array_equal(times, [[1, 2], [4, 3], [5, 6]])


def test_the_interval_of_a_ratio_by_hand():
    # Student's t of 2 degrees of freedom at 97.5 % is 4.303; the logarithms' error is 1 / sqrt(3).
    ratios = np.exp([-1.0, 0.0, 1.0])
    ratio, low, high = ratio_with_interval(ratios)
    half = 4.302653 / np.sqrt(3)
    assert (ratio, low, high) == pytest.approx((1, np.exp(-half), np.exp(half)))
    assert ratio_with_interval(np.array([0.5, 0.5])) == (0.5, 0.5, 0.5)


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["--model=nope"], ["models.nope"]),
        ([f"--model={MODEL}", "--images=0"], ["IMAGES: found 0; expected at least 1"]),
        ([f"--model={MODEL}", "--rounds=1"], ["ROUNDS: found 1; expected at least 2"]),
    ],
)
def test_wrong_input_is_named(converted, arguments, parts):
    with refused(*parts):
        benchmark_pipeline.main(arguments)


def test_a_stage_that_fails_is_named(converted):
    (converted / "models" / MODEL / "weights.pth").write_bytes(b"")
    with refused("stages.infer_pytorch", "weights.pth"):
        benchmark_pipeline.seconds_of(
            [[benchmark_pipeline.sys.executable, "-m", "stages.infer_pytorch", MODEL]], converted
        )


def test_a_model_that_was_not_converted_is_named(prepared):
    with refused(f"models/{MODEL}/mended.onnx", "`make` writes it"):
        benchmark_pipeline.main([f"--model={MODEL}"])
