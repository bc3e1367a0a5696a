"""The CSV files behind the pictures."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from helpers.results import BENCHMARK, ENGINE, EXPORT, NO_EXACT_ANSWER, SUM, faithful, without

from parity.evaluation.plot_data import (
    write_accuracy,
    write_exactness,
    write_parity,
    write_per_class,
    write_times,
)


def lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def test_classes_have_a_row_per_backend_unless_undefined(tmp_path):
    values = {"pytorch": np.array([50.0, np.nan]), "opencv": np.array([100 / 3, np.nan])}
    write_per_class(tmp_path / "a.csv", ["cat, grey", "dog"], values)
    assert lines(tmp_path / "a.csv") == [
        "class,backend,label,value",
        '"cat, grey",pytorch,"cat, grey, pytorch",50.0',
        '"cat, grey",opencv,"cat, grey, opencv",33.333333333333336',
    ]


def test_times_and_accuracy_have_a_row_per_model_and_backend(tmp_path):
    models = [faithful(model="one"), without("opencv", model="two")]
    write_times(tmp_path / "times.csv", models)
    assert lines(tmp_path / "times.csv") == [
        "model,backend,label,median_ms,p95_ms",
        "one,pytorch,one pytorch,4.0,5.0",
        "one,onnxruntime,one onnxruntime,1.0,1.5",
        "one,opencv,one opencv,2.0,2.5",
        "two,pytorch,two pytorch,4.0,5.0",
        "two,onnxruntime,two onnxruntime,1.0,1.5",
    ]
    write_accuracy(tmp_path / "accuracy.csv", models)
    assert lines(tmp_path / "accuracy.csv")[:2] == [
        "model,backend,label,metric,value",
        "one,pytorch,one pytorch,acc@1,90.0",
    ]
    assert len(lines(tmp_path / "accuracy.csv")) == 1 + 3 + 2


def test_disturbed_times_are_marked_and_foreign_ones_left_out(tmp_path):
    conditions = replace(BENCHMARK.conditions, disturbed="others took 60 %")
    disturbed = faithful(benchmark=replace(BENCHMARK, conditions=conditions))
    write_times(tmp_path / "times.csv", [disturbed, faithful().without_times("elsewhere")])
    labels = [line.split(",")[2] for line in lines(tmp_path / "times.csv")[1:]]
    assert labels == [f"squeezenet1_1 {name}†" for name in ("pytorch", "onnxruntime", "opencv")]


def test_exactness_has_a_row_per_model_and_backend_and_a_ratio_for_each_candidate(tmp_path):
    models = [faithful(model="one"), faithful(model="two", exact=NO_EXACT_ANSWER)]
    write_exactness(tmp_path / "a.csv", models)
    assert lines(tmp_path / "a.csv") == [
        "model,backend,label,rel,rms,ratio",
        "one,pytorch,one pytorch,4e-07,3e-07,",
        "one,onnxruntime,one onnxruntime,4e-07,3e-07,1.0",
        "one,opencv,one opencv,4e-07,3e-07,1.0",
    ]


def test_parity_keeps_every_digit_and_leaves_undefined_figures_empty(tmp_path):
    results = faithful(parity={SUM: {"agreement": 99.9999999}, EXPORT: {"rel": None}})
    write_parity(tmp_path / "a.csv", [results])
    assert lines(tmp_path / "a.csv") == [
        "model,pair,label,l1,linf,rel,agreement,ties,spread",
        f"squeezenet1_1,{SUM},squeezenet1_1 {SUM},0.0,1e-05,1e-06,99.9999999,0.0,0.5",
        f"squeezenet1_1,{EXPORT},squeezenet1_1 {EXPORT},0.0,1e-05,,100.0,0.0,0.5",
        f"squeezenet1_1,{ENGINE},squeezenet1_1 {ENGINE},0.0,1e-05,1e-06,100.0,0.0,0.5",
    ]
