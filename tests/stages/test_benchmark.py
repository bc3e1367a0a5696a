import json
import time

import numpy as np
import pytest
from helpers.onnx_files import CRASH, ERROR, NOTHING, write_tiny_onnx
from helpers.params import write_params
from helpers.refusals import refused

from parity.backends.contract import BackendFailure
from parity.backends.isolated import IsolatedForward
from parity.core.params import BenchmarkParams, PerTask, entry, load_params
from parity.core.paths import onnx_path
from parity.preprocessing.images import normalize
from parity.preprocessing.splits import Split
from stages import benchmark


def sleep_and_return(blob: np.ndarray) -> np.ndarray:
    time.sleep(0.05)
    return blob


def load_sleeping():
    return sleep_and_return


def options(runs: int, warmup: int = 0, **changes) -> BenchmarkParams:
    fields = {"confidence": 95, "resamples": 500} | changes
    batch_size = PerTask(classification=1, segmentation=1)
    return BenchmarkParams(batch_size=batch_size, warmup=warmup, runs=runs, **fields)


def times(pytorch: list, opencv: list) -> dict[str, np.ndarray]:
    return {"pytorch": np.array(pytorch, float), "opencv": np.array(opencv, float)}


def test_the_report_against_medians_by_hand():
    result = benchmark.report(
        times([10, 30, 20, 1000, 20], [5, 4, 6, 5, 90]), 8, options(5), seed=0
    )
    assert (result["batch_size"], result["runs"]) == (8, 5)
    assert result["pytorch"]["median_ms"] == 20
    assert result["opencv"]["median_ms"] == 5
    assert result["pytorch"]["images_per_s"] == 1000 * 8 / 20
    assert result["opencv"]["images_per_s"] == 1000 * 8 / 5
    assert result["pytorch"]["p95_ms"] == pytest.approx(30 + 0.8 * (1000 - 30))
    assert result["opencv_over_pytorch"] == 5 / 20


@pytest.mark.parametrize("seed", range(5))
def test_the_interval_holds_the_ratio(seed):
    rng = np.random.default_rng(seed)
    values = times(20 + rng.exponential(5, 30), 10 + rng.exponential(5, 30))
    result = benchmark.report(values, 1, options(30), seed=seed)
    interval = result["opencv_over_pytorch_interval"]
    assert interval["low"] < result["opencv_over_pytorch"] < interval["high"]
    assert interval["confidence"] == 95


def test_more_confidence_makes_a_wider_interval():
    rng = np.random.default_rng(0)
    values = times(20 + rng.exponential(5, 30), 10 + rng.exponential(5, 30))
    widths = []
    for confidence in (50, 99):
        result = benchmark.report(values, 1, options(30, confidence=confidence), seed=0)
        interval = result["opencv_over_pytorch_interval"]
        widths.append(interval["high"] - interval["low"])
    assert widths[0] < widths[1]


def test_a_slow_round_of_both_is_no_difference_between_them():
    pytorch = np.random.default_rng(0).uniform(10, 100, 20)
    interval = benchmark.report(times(pytorch, pytorch / 2), 1, options(20), seed=0)[
        "opencv_over_pytorch_interval"
    ]
    assert interval["low"] == pytest.approx(0.5) and interval["high"] == pytest.approx(0.5)


def test_the_same_seed_gives_the_same_interval():
    rng = np.random.default_rng(0)
    values = times(rng.uniform(1, 9, 20), rng.uniform(1, 9, 20))
    one, two = (benchmark.report(values, 1, options(20), seed=3) for _ in range(2))
    assert one == two


def test_each_backend_runs_once_a_round_and_warm_up_rounds_do_not_count(capsys):
    ran = []
    backends = {name: lambda blob, name=name: ran.append(name) for name in ("pytorch", "opencv")}
    measured = benchmark.measure(backends, np.zeros(1), options(3, warmup=2), "mine", {})
    assert ran == ["pytorch", "opencv"] * 5
    assert {name: values.shape for name, values in measured.items()} == {
        "pytorch": (3,),
        "opencv": (3,),
    }
    assert all((values > 0).all() and (values < 1000).all() for values in measured.values())


def test_the_blob_is_the_first_image_as_often_as_the_batch_size_says(prepared):
    write_params(prepared, {"benchmark.batch_size.classification": 3})
    params = load_params()
    blob = benchmark.first_blob(entry(params, "models", "squeezenet1_1"), params)
    profile = entry(params, "preprocess", "imagenet")
    image = Split("imagenet", "val", "classification").images(0, 1)
    assert blob.shape == (3, 3, 64, 64)
    for one in blob:
        np.testing.assert_array_equal(one, normalize(image, profile.mean, profile.std)[0])


def test_the_stage_writes_the_times_of_every_backend_and_what_they_depend_on(converted):
    write_params(converted, {"benchmark.batch_size.classification": 2})
    benchmark.main(["squeezenet1_1"])
    result = json.loads((converted / "metrics/benchmark/squeezenet1_1.json").read_text())
    assert (result["batch_size"], result["runs"]) == (2, 3)
    assert result["blob"] == [2, 3, 64, 64]
    for backend in ("pytorch", "onnxruntime", "opencv"):
        times = result[backend]
        assert 0 < times["median_ms"] <= times["p95_ms"]
        assert times["images_per_s"] == pytest.approx(2000 / times["median_ms"])
    assert result["opencv_over_pytorch"] > 0
    environment = result["environment"]
    assert environment["cpu"] and environment["opencv"]["target"] == "cpu"
    assert all(environment[backend]["threads"] >= 1 for backend in ("pytorch", "opencv"))


def test_without_times_of_opencv_there_is_no_ratio():
    result = benchmark.report({"pytorch": np.ones(5)}, 1, options(5), seed=0)
    assert result["opencv_over_pytorch"] is None and "opencv" not in result
    interval = {"low": None, "high": None, "confidence": 95}
    assert result["opencv_over_pytorch_interval"] == interval


@pytest.mark.parametrize(("ends", "kind"), [(CRASH, "crashed"), (NOTHING, "shape")])
def test_a_backend_that_fails_is_left_out_and_told(converted, capsys, ends, kind):
    write_tiny_onnx(onnx_path("squeezenet1_1"), *ends)
    benchmark.main(["squeezenet1_1"])
    result = json.loads((converted / "metrics/benchmark/squeezenet1_1.json").read_text())
    assert result["failures"]["opencv"]["kind"] == kind and "opencv" not in result
    assert result["opencv_over_pytorch"] is None
    assert result["pytorch"]["median_ms"] > 0
    assert result["environment"]["opencv"]["version"]
    # Of the two, ONNX Runtime refuses the division by 0 too.
    assert (
        ("onnxruntime" in result) == ("onnxruntime" not in result["failures"]) == (ends is NOTHING)
    )
    assert f"squeezenet1_1: OpenCV failed ({kind}): " in capsys.readouterr().err


def test_a_backend_that_fails_in_a_later_round_has_no_times_at_all():
    ran = []

    def fails_in_the_second(blob: np.ndarray) -> None:
        ran.append(blob)
        if len(ran) == 2:
            raise BackendFailure("error", "no")

    backends = {"pytorch": lambda blob: None, "opencv": fails_in_the_second}
    failures = {}
    measured = benchmark.measure(backends, np.zeros(1), options(4), "mine", failures)
    assert list(measured) == ["pytorch"] and list(failures) == ["opencv"] and len(ran) == 2


def test_without_the_reference_there_is_nothing_to_compare_with(converted):
    write_tiny_onnx(onnx_path("squeezenet1_1"), *ERROR)
    entry = {"task": "classification", "preprocess": "imagenet", "onnx": "any.onnx"}
    write_params(converted, {"models.squeezenet1_1": entry})
    with refused("model.onnx: ONNX Runtime cannot run it: "):
        benchmark.main(["squeezenet1_1"])


def test_the_time_of_another_process_is_that_of_the_pass_alone():
    with IsolatedForward(load_sleeping, limit_s=20) as forward:
        blob = np.zeros((10, 3, 400, 400), np.float32)  # 19 MB, there and back
        began = time.perf_counter()
        seconds = benchmark.timed(forward, blob)
        took = time.perf_counter() - began
    assert 0.05 <= seconds < took - 0.005
