"""The summary's table of all models, and the notes below it."""

from dataclasses import replace

import pytest
from helpers.results import (
    BENCHMARK,
    EQUAL,
    NO_EXACT_ANSWER,
    STABLE,
    SUM,
    every_pair,
    faithful,
    onnx_only,
    without,
)

from parity.evaluation.results import Results, StabilityRun
from parity.evaluation.summary import (
    agreement_or_vacuous,
    environment_text,
    milliseconds,
    problems,
    summary_notes,
    summary_table,
    summary_text,
)

SPREAD = 0.01


def cells(*models: Results, row: int = 0) -> dict[str, str]:
    """The cells of a row by their heading."""
    lines = summary_table(models, SPREAD).splitlines()
    heading, cells = (
        [cell.strip() for cell in line.split("|")[1:-1]] for line in (lines[0], lines[2 + row])
    )
    return dict(zip(heading, cells, strict=True))


def test_a_row_has_accuracy_differences_and_times_of_every_backend():
    results = faithful({"opencv": 89.5}, {SUM: {"l1": 2e-7, "linf": 3e-5, "rel": 4e-6}})
    assert cells(results) == {
        "model": "squeezenet1_1",
        "task": "classification",
        "images": "100",
        "PyTorch %": "90.00",
        "ORT %": "90.00",
        "OpenCV %": "89.50",
        "l1": "2.0e-07",
        "linf": "3.0e-05",
        "rel": "4.0e-06",
        "exact": "1.0",
        "export": "1.0e-06",
        "engine": "1.0e-06",
        "agree %": "100",
        "PyTorch ms": "4.0",
        "ORT ms": "1.0",
        "OpenCV ms": "2.0",
        "OpenCV/PyTorch": "0.50 (0.40-0.60)",
    }


def test_a_failed_backend_leaves_dashes():
    found = cells(without("opencv", benchmark=replace(BENCHMARK, ratio=None, timings={})))
    dashes = {name for name, cell in found.items() if cell == "-"}
    assert {"OpenCV %", "l1", "linf", "rel", "engine", "agree %", "OpenCV/PyTorch"} <= dashes
    assert found["export"] == "1.0e-06"


def test_disturbed_times_are_marked_with_the_reason_below():
    conditions = replace(BENCHMARK.conditions, disturbed="others took 60 %")
    results = faithful(benchmark=replace(BENCHMARK, conditions=conditions))
    found = cells(results)
    assert (found["PyTorch ms"], found["ORT ms"], found["OpenCV ms"]) == ("4.0†", "1.0†", "2.0†")
    assert found["OpenCV/PyTorch"] == "0.50 (0.40-0.60)†"
    notes = summary_notes([results, faithful(model="calm")], SPREAD)
    assert "\n† squeezenet1_1: disturbed: others took 60 %.\n" in notes
    assert "`dvc repro --force --single-item benchmark@MODEL`" in notes and "† calm" not in notes


def test_without_times_there_are_dashes_and_the_reason_once():
    results = faithful().without_times("measured on another machine")
    found = cells(results)
    assert {found[name] for name in ("PyTorch ms", "OpenCV ms", "OpenCV/PyTorch")} == {"-"}
    notes = summary_notes([results, replace(results, model="two")], SPREAD)
    assert "\nsqueezenet1_1, two: no times: measured on another machine.\n" in notes
    assert "a processor" not in notes and "confidence" not in notes


def test_a_model_without_pytorch_is_compared_with_onnx_runtime():
    found = cells(onnx_only(rel=2e-6))
    assert (found["PyTorch %"], found["rel"]) == ("-", "2.0e-06")
    assert found["OpenCV/PyTorch"] == "ORT: 0.50 (0.40-0.60)"
    assert "has no PyTorch" in summary_notes([onnx_only()], SPREAD).replace("\n", " ")


def test_published_accuracy_has_a_column_where_a_model_has_any():
    assert "published %" not in cells(faithful())
    models = (faithful(published=58.178), faithful())
    assert [cells(*models, row=row)["published %"] for row in (0, 1)] == ["58.18", "-"]
    assert "published: " in summary_notes(models, SPREAD)


def test_an_agreement_that_could_not_fail_is_called_vacuous():
    dead = faithful(parity=every_pair(spread=0.0))
    assert cells(dead)["agree %"] == "vacuous"
    assert "vacuous: the reference's outputs" in " ".join(summary_text([dead], SPREAD).split())
    assert "vacuous" not in summary_text([faithful()], SPREAD)


@pytest.mark.parametrize(
    ("figures", "text"),
    [
        ({}, "100"),
        ({"agreement": 99.99996}, "99.999"),
        ({"agreement": None}, "-"),
        ({"spread": 0.009}, "vacuous"),
        ({"spread": None}, "vacuous"),
        ({"rel": None, "linf": 0.0}, "vacuous"),
        ({"spread": 0.009, "agreement": 40.0}, "40.000"),  # it did fail
    ],
)
def test_agreement_or_vacuous(figures, text):
    assert agreement_or_vacuous(replace(EQUAL, **figures), SPREAD) == text


def test_what_no_column_shows_is_listed_below_the_table():
    crashed = without("opencv", "crashed", "ended by\nSIGSEGV", nonfinite={"pytorch": 3})
    assert problems([faithful(), crashed]) == [
        "squeezenet1_1: OpenCV failed (crashed): ended by SIGSEGV",
        "squeezenet1_1: PyTorch: NaN or infinity in the outputs of 3 images",
    ]


def test_the_reason_for_no_exact_answer_is_listed_below_the_table():
    results = faithful(exact=NO_EXACT_ANSWER)
    assert cells(results)["exact"] == "-"
    assert problems([results]) == ["squeezenet1_1: no exact answer: turned off"]


def test_instability_is_listed_below_the_table():
    runs = (
        StabilityRun("again", same=True, rel=0.0, failure=None),
        StabilityRun("MALLOC_PERTURB_=1", same=False, rel=4.6e30, failure=None),
        StabilityRun("MALLOC_PERTURB_=165", same=False, rel=None, failure=None),
    )
    results = faithful(stability=replace(STABLE, stable=False, runs=runs))
    assert problems([results]) == [
        "squeezenet1_1: OpenCV is unstable: MALLOC_PERTURB_=1 differs (rel 4.6e+30);"
        " MALLOC_PERTURB_=165 differs (rel not a number)"
    ]


def test_a_long_failure_is_cut():
    (line,) = problems([without("opencv", message="word " * 200)])
    assert len(line) < 330 and line.endswith("[...]")


def test_times_of_different_machines_are_not_to_be_compared():
    environment = BENCHMARK.environment | {"cpu": "another"}
    other = faithful(benchmark=replace(BENCHMARK, environment=environment, blob=(1, 3, 32, 32)))
    assert environment_text([faithful()]) == (
        "Blob, NCHW: 1x3x64x64. a processor, cores 2, threads 2; PyTorch 2.15.0, ONNX Runtime"
        " 1.31.1, OpenCV 5.0.0 (engine auto, backend default, target cpu), measured 2026-01-31."
    )
    text = environment_text([faithful(), faithful(), other])
    assert text.startswith("Blob, NCHW: 1x3x64x64 (2 models), 1x3x32x32 (squeezenet1_1). ")
    assert text.endswith("do not compare the times of different models.")


def test_an_engine_of_a_models_own_is_no_other_machine():
    opencv = BENCHMARK.environment["opencv"] | {"engine": "classic"}
    own = replace(BENCHMARK, environment=BENCHMARK.environment | {"opencv": opencv})
    text = environment_text([faithful(), faithful(model="vgg11", benchmark=own), faithful()])
    assert text.endswith(
        "OpenCV 5.0.0 (engine auto, backend default, target cpu: 2 models; engine classic, backend"
        " default, target cpu: vgg11), measured 2026-01-31."
    )


@pytest.mark.parametrize(
    ("value", "text"), [(123.4, "123"), (12.34, "12.3"), (1.0, "1.0"), (0.123, "0.12")]
)
def test_milliseconds_have_three_digits_or_two(value, text):
    assert milliseconds(value) == text
