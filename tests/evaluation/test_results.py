"""A model's results: how they are gathered from the stages' files, and come back from their own."""

import math
from dataclasses import asdict, replace

import pytest
from helpers.results import BENCHMARK, faithful, without

from parity.core.files import write_json
from parity.core.paths import benchmark_path, metrics_path, source_path, stability_path
from parity.evaluation.results import (
    ExactDistance,
    Exactness,
    PairParity,
    RatioInterval,
    Timing,
    gather_results,
    is_number,
    read_results,
    write_results,
)

NAME = "mine"
FIGURES = {"l1": 1e-7, "linf": 1e-5, "rel": 1e-6, "agreement": 100.0, "ties": 0.0, "spread": 0.5}
EXACT = {"images": 0, "reason": "turned off"}
TIMING = {"median_ms": 2.0, "p95_ms": 3.0, "images_per_s": 500.0}
CRASHED = {"kind": "crashed", "message": "SIGSEGV"}
TIMED_OUT = {"kind": "timeout", "message": "120 s"}


def write_stages_files(metrics: dict, times: dict, published: dict | None = None) -> None:
    """Write what the stages before `results` write."""
    write_json(metrics_path(NAME), {"images": 10, "exact": EXACT} | metrics)
    interval = {"low": 0.4, "high": 0.6, "confidence": 95.0}
    environment = {"cpu": "a processor", "opencv": {"threads": 2}}
    measured = {"batch_size": 1, "runs": 3, "blob": [1, 3, 64, 64], "environment": environment}
    measured["conditions"] = asdict(BENCHMARK.conditions)
    for reference in ("pytorch", "onnxruntime"):
        measured[f"opencv_over_{reference}"] = 0.5
        measured[f"opencv_over_{reference}_interval"] = interval
    write_json(benchmark_path(NAME), measured | times)
    runs = [{"name": "again", "same": True, "rel": 0.0, "failure": None}]
    stability = {"images": 2, "method": "fresh processes", "stable": True, "runs": runs}
    write_json(stability_path(NAME), stability)
    write_json(source_path(NAME), {"files": {}, "published": published})


def scored(accuracy: float) -> dict:
    return {"acc@1": accuracy, "acc@5": 99.0, "nonfinite": 0}


def test_the_files_of_a_model_become_one_typed_value(project):
    metrics = {"pytorch": scored(90.0), "opencv": scored(80.0)}
    metrics["parity"] = {"opencv_vs_pytorch": FIGURES}
    published = {"name": "ImageNet-1K", "metrics": {"acc@1": 76.1, "acc@5": 92.9}}
    write_stages_files(metrics, {"pytorch": TIMING, "opencv": TIMING}, published)
    results = gather_results(NAME, "classification")
    assert (results.model, results.task, results.images) == (NAME, "classification", 10)
    assert (results.reference, results.metric, results.published) == ("pytorch", "acc@1", 76.1)
    assert results.accuracy == {"pytorch": 90.0, "opencv": 80.0}
    assert results.scores["opencv"] == {"acc@1": 80.0, "acc@5": 99.0}
    assert results.parity_with_reference == PairParity(**FIGURES)
    assert results.benchmark.timings["opencv"] == Timing(**TIMING)
    assert results.medians == {"pytorch": 2.0, "opencv": 2.0}
    assert results.benchmark.ratio_interval == RatioInterval(0.4, 0.6, 95.0)
    assert results.benchmark.blob == (1, 3, 64, 64)
    assert results.stability.runs[0].name == "again" and results.stability.stable is True


def test_a_model_that_is_an_onnx_file_has_onnx_runtime_as_its_reference(project):
    metrics = {"onnxruntime": scored(90.0), "opencv": scored(90.0)}
    metrics["parity"] = {"opencv_vs_onnxruntime": FIGURES}
    write_stages_files(metrics, {"opencv_over_onnxruntime": 0.7})
    results = gather_results(NAME, "classification")
    assert (results.reference, results.benchmark.ratio) == ("onnxruntime", 0.7)
    assert results.parity_with_reference == PairParity(**FIGURES)


def test_without_a_benchmark_the_reason_is_in_its_place(project):
    metrics = {"pytorch": scored(90.0), "opencv": scored(90.0), "parity": {}}
    write_stages_files(metrics, {})
    benchmark_path(NAME).unlink()
    results = gather_results(NAME, "classification", untimed="no time")
    assert (results.benchmark, results.untimed, results.medians) == (None, "no time", {})
    write_results(results)
    assert read_results(NAME) == results


def test_failures_of_both_stages_are_gathered_and_the_evaluations_counts(project):
    metrics = {"pytorch": scored(90.0), "parity": {}, "failures": {"opencv": CRASHED}}
    failures = {"opencv": TIMED_OUT, "onnxruntime": TIMED_OUT}
    write_stages_files(metrics, {"failures": failures})
    results = gather_results(NAME, "classification")
    assert results.failures == {"onnxruntime": TIMED_OUT, "opencv": CRASHED}
    assert list(results.failures) == ["onnxruntime", "opencv"]
    assert results.parity_with_reference is None


def test_the_exactness_of_each_backend_is_gathered(project):
    figures = {"rel": 1e-6, "rms": 5e-7}
    exact = {"images": 2, "pytorch": figures, "opencv": figures, "ratio": {"opencv": 1.0}}
    metrics = {"pytorch": scored(90.0), "opencv": scored(90.0), "parity": {}}
    write_stages_files(metrics | {"exact": exact}, {})
    found = gather_results(NAME, "classification").exact
    distances = dict.fromkeys(("pytorch", "opencv"), ExactDistance(**figures))
    assert found == Exactness(2, None, distances, {"opencv": 1.0}) and found.is_known

    write_stages_files(metrics, {})
    found = gather_results(NAME, "classification").exact
    assert found == Exactness(0, "turned off", {}, {}) and not found.is_known


def test_results_come_back_from_their_file_as_they_were(project):
    for results in (faithful(task="segmentation"), without("opencv"), faithful(published=76.1)):
        write_results(results)
        assert read_results(results.model) == results


def test_a_figure_that_is_not_a_number_comes_back_as_none(project):
    results = faithful(parity={"opencv_vs_pytorch": {"rel": math.nan}})
    write_results(results)
    parity = read_results(results.model).parity
    assert parity["opencv_vs_pytorch"] == replace(results.parity["opencv_vs_pytorch"], rel=None)


@pytest.mark.parametrize(
    ("figure", "expected"), [(0.0, True), (math.inf, True), (math.nan, False), (None, False)]
)
def test_nan_and_none_are_no_numbers(figure, expected):
    assert is_number(figure) is expected
