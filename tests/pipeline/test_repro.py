"""The pipeline as a whole, small, with real `dvc repro`: what runs, what stays, what comes out."""

import importlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import networkx
import numpy as np
import onnx
import psutil
import pytest
import torch
from dvc.repo import Repo
from helpers.checkout import REAL, needs_real
from helpers.dvc_runs import (
    CLS,
    ENVIRONMENT,
    SEG,
    SMALL_PIPELINE,
    TEMPLATES,
    Run,
    copied,
    digests,
    dvc,
    edit,
    fingerprinted,
    git,
    is_params,
    make,
    run,
    stage_params,
)
from helpers.refusals import refused
from pydantic import BaseModel

from parity.core.machine import identity
from parity.core.params import load_params, of_model
from parity.core.settings import MEND, NETWORK
from parity.datasets.sample import write_classification
from parity.faults.exported_file import exported_file
from stages import fetch, preprocess, settings, transform

pytestmark = [pytest.mark.pipeline, pytest.mark.filterwarnings("ignore::DeprecationWarning:dvc")]

BACKENDS = ("pytorch", "onnxruntime", "opencv")
PAIRS = ("opencv_vs_pytorch", "onnxruntime_vs_pytorch", "opencv_vs_onnxruntime")
OVERVIEW = "metrics/overview.json"


def scores(root: Path) -> dict[str, str]:
    return digests(root, f"metrics/{CLS}.json", f"metrics/{SEG}.json")


@pytest.fixture
def editable(pipeline, monkeypatch) -> Iterator[Path]:
    """The finished pipeline, to change but not to run, except for `settings`; all is put back."""
    monkeypatch.chdir(pipeline)
    yield pipeline
    git(pipeline, "checkout", "--quiet", "--", ".")
    settings.main([])


@pytest.fixture
def fingerprintable(editable) -> Iterator[Path]:
    """The same where the stage `fingerprints` runs, as in each repro: it alone sees code."""
    yield editable
    git(editable, "checkout", "--quiet", "--", ".")
    fingerprinted(editable)


# What a change reruns


def of(*stages: str, models: tuple[str, ...] = (CLS, SEG)) -> set[str]:
    return {f"{stage}@{model}" for stage in stages for model in models}


def changed(root: Path) -> set[str]:
    """The stages with a dependency or a param that is not what it was."""
    with Repo(str(root)) as repo:
        return {name.rpartition(":")[2] for name in repo.status()} - {"fingerprints"}


def may_run(root: Path) -> set[str]:
    """The stages that changed and those that follow: what `dvc repro` runs at most."""
    return with_followers(root, changed(root))


def with_followers(root: Path, changed: set[str]) -> set[str]:
    # All follow from `check_params`, whose output never changes, and from some file of `settings`.
    names = changed - {"check_params", "settings"}
    with Repo(str(root)) as repo:
        graph = repo.index.graph
        reached = {stage for stage in graph if stage.addressing.rpartition(":")[2] in names}
        for stage in tuple(reached):
            reached |= networkx.ancestors(graph, stage)
        return {stage.addressing.rpartition(":")[2] for stage in reached}


FOLLOWING = ("summary", "gate", "report")
INFER = tuple(f"infer_{backend}" for backend in BACKENDS)
SHOWN = ("results", "plot")
EVALUATED = ("evaluate", "details")
REPORTED = (*EVALUATED, "stability", "benchmark", *SHOWN)
CONVERTED = ("export_onnx", "mend", "infer_onnxruntime", "infer_opencv", "infer_exact", *REPORTED)
FROM_WEIGHTS = ("weights", "export_onnx", "mend", *INFER, "infer_exact", *REPORTED)
CHANGES = [
    (f"models.{CLS}.weights", "random", of(*FROM_WEIGHTS, models=(CLS,))),
    (
        "preprocess.voc.mean",
        [0.4, 0.4, 0.4],
        {"transform@voc", "preprocess@voc"} | of(*FROM_WEIGHTS, models=(SEG,)),
    ),
    (
        "preprocess.imagenet.size.interpolation",
        "area",
        {"transform@imagenet", "preprocess@imagenet"} | of(*FROM_WEIGHTS, models=(CLS,)),
    ),
    (
        "preprocess.imagenet.exif",
        "apply",
        {"transform@imagenet", "preprocess@imagenet"} | of(*FROM_WEIGHTS, models=(CLS,)),
    ),
    (
        "preprocess.imagenet.on_corrupt",
        "skip",
        {"transform@imagenet", "preprocess@imagenet"} | of(*FROM_WEIGHTS, models=(CLS,)),
    ),
    (
        "sample.segmentation.train",
        7,
        {"fetch@shapes", "preprocess@voc"} | of(*FROM_WEIGHTS, models=(SEG,)),
    ),
    (
        "datasets.textures.limit",
        5,
        {"fetch@textures", "preprocess@imagenet"} | of(*FROM_WEIGHTS, models=(CLS,)),
    ),
    (
        "datasets.shapes.shuffle",
        True,
        {"fetch@shapes", "preprocess@voc"} | of(*FROM_WEIGHTS, models=(SEG,)),
    ),
    ("probe.ridge", 0.1, of(*FROM_WEIGHTS)),
    ("probe.batch_size.classification", 7, of(*FROM_WEIGHTS, models=(CLS,))),
    ("export.opset", 17, of(*CONVERTED)),
    ("export.dynamic_axes.segmentation", ["batch"], of(*CONVERTED, models=(SEG,))),
    ("inference.batch_size.classification", 4, of(*INFER, *EVALUATED, *SHOWN, models=(CLS,))),
    ("parity.images.segmentation", 1, of(*INFER, *EVALUATED, *SHOWN, models=(SEG,))),
    ("exact.images.classification", 0, of("infer_exact", *EVALUATED, *SHOWN, models=(CLS,))),
    ("pytorch.threads", 2, of("infer_pytorch", "infer_exact", *EVALUATED, "benchmark", *SHOWN)),
    ("onnxruntime.threads", 1, of("infer_onnxruntime", *EVALUATED, "benchmark", *SHOWN)),
    ("opencv.threads", 1, of("infer_opencv", *REPORTED)),
    ("opencv.engine", "classic", of("infer_opencv", *REPORTED)),
    ("stability.images", 1, of("stability", *SHOWN)),
    ("stability.perturb", [85], of("stability", *SHOWN)),
    ("benchmark.runs", 3, of("benchmark", *SHOWN)),
    ("benchmark.batch_size.segmentation", 2, of("benchmark", *SHOWN, models=(SEG,))),
    (f"models.{CLS}.export", {"opset": 17}, of(*CONVERTED, models=(CLS,))),
    (f"models.{CLS}.opencv", {"engine": "classic"}, of("infer_opencv", *REPORTED, models=(CLS,))),
    (f"models.{CLS}.mend", "auto", of("mend", "infer_opencv", *REPORTED, models=(CLS,))),
    (f"models.{CLS}.inference", {"batch_size": 4}, of(*INFER, *EVALUATED, *SHOWN, models=(CLS,))),
]
CODE = [
    ("parity/datasets/sample.py", {"fetch@textures", "fetch@shapes"}),
    ("parity/datasets/layouts.py", {"fetch@textures", "fetch@shapes"}),
    ("parity/networks/probe.py", of("weights")),
    ("stages/export_onnx.py", of("export_onnx")),
    ("stages/infer_opencv.py", of("infer_opencv")),
    ("parity/inference/runner.py", of(*INFER, "infer_exact")),
    ("stages/infer_exact.py", of("infer_exact")),
    ("parity/evaluation/scores.py", of("mend", *EVALUATED, "stability", "plot")),
    ("stages/mend.py", of("mend")),
    ("parity/mending/hard_sigmoid.py", of("mend")),
    ("stages/stability.py", of("stability")),
    ("stages/benchmark.py", of("benchmark")),
    ("parity/evaluation/verdict_report.py", {"gate", "report"}),
    ("parity/evaluation/pictures/gallery.py", of("plot", "details")),
    ("parity/report/page.py", {"report"}),
    ("README.md", set()),
]


def test_nothing_runs_when_nothing_changed(pipeline):
    again = dvc(pipeline, "repro")
    assert not again.stages
    assert again.seconds < 20  # some two, unless the machine is busy
    assert not git(pipeline, "status", "--porcelain").output


@pytest.mark.parametrize(("key", "value", "expected"), CHANGES, ids=[key for key, *_ in CHANGES])
def test_a_changed_constant_reruns_what_depends_on_it(editable, key, value, expected):
    edit(editable, {key: value})
    settings.main([])
    found = changed(editable)
    assert "check_params" in found
    assert with_followers(editable, found) == {*FOLLOWING, *expected}


def test_a_global_setting_reruns_no_model_with_its_own(editable):
    edit(editable, {f"models.{CLS}.opencv": {"engine": "auto"}, "opencv.engine": "classic"})
    settings.main([])
    expected = of("infer_opencv", *REPORTED, models=(SEG,))
    assert may_run(editable) == {*FOLLOWING, *expected}


@pytest.mark.parametrize(("path", "expected"), CODE, ids=[path for path, _ in CODE])
def test_changed_code_reruns_the_stages_that_use_it(fingerprintable, path, expected):
    for code, stages in (("# changed\n", set()), ("pass\n", expected)):
        with (fingerprintable / path).open("a", encoding="utf-8") as file:
            file.write(code)
        fingerprinted(fingerprintable)
        assert changed(fingerprintable) == stages


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("gate.limits.segmentation.rel", 1e-3),
        ("gate.limits.classification.exactness", 3.0),
        ("gate.overrides", {CLS: {"agreement": 99.0}}),
    ],
    ids=["limit", "exactness", "override"],
)
def test_a_changed_limit_reruns_the_gate_the_summary_and_the_report(editable, key, value):
    edit(editable, {key: value})
    assert changed(editable) == {"check_params", "summary", "gate"}
    assert may_run(editable) == {*FOLLOWING}


def test_another_machine_times_every_model_anew(editable):
    path = editable / "data/fingerprints/machine.json"
    before = path.read_bytes()
    path.unlink()  # a hard link into the cache
    path.write_bytes(before.replace(identity().encode(), b"0" * 16))
    found = changed(editable)
    path.write_bytes(before)
    assert found == {*FOLLOWING} | of("benchmark", "stability")


def test_a_change_of_the_pictures_leaves_the_verdict_alone(editable):
    edit(editable, {"plot.dpi": 31})
    assert may_run(editable) == {"summary"} | of("plot")


def test_a_model_that_is_no_longer_what_was_asked_for_is_told(editable, capsys):
    with exported_file(CLS):
        pass
    assert not capsys.readouterr().err
    edit(editable, {"export.opset": 17})
    with exported_file(CLS) as path:
        assert path == Path(f"models/{CLS}/model.onnx")
    stale = f"{path}: stale: params.yaml or another dependency has changed"
    assert stale in capsys.readouterr().err
    with refused("models/none/model.onnx: no such file; `make` writes it"), exported_file("none"):
        pass


@pytest.mark.parametrize("is_timed", [True, False])
def test_dvc_runs_beside_no_block_that_is_timed(editable, is_timed):
    """It doubled the time of OpenCV's pass in the demo."""
    with exported_file(CLS, mended=True, is_timed=is_timed):
        commands = [" ".join(child.cmdline()) for child in running_children()]
    assert any("dvc status" in command for command in commands) is not is_timed


def running_children() -> list[psutil.Process]:
    """Return the processes that this one started, without those that have ended."""
    children = psutil.Process().children()
    return [child for child in children if child.status() != psutil.STATUS_ZOMBIE]


def test_a_comment_in_params_yaml_reruns_the_check_alone(editable):
    with (editable / "params.yaml").open("a", encoding="utf-8") as file:
        file.write("# changed\n")
    assert changed(editable) == {"check_params"}


@pytest.mark.parametrize(
    ("key", "value", "targets", "ran", "at_most"),
    [
        ("opencv.threads", 1, of("evaluate"), of("infer_opencv"), of("evaluate")),
        (
            "inference.batch_size.classification",
            4,
            of("evaluate"),
            of(*INFER, models=(CLS,)),
            of("evaluate", models=(CLS,)),
        ),
        (
            "benchmark.runs",
            3,
            of("benchmark", models=(CLS,)),
            of("benchmark", models=(CLS,)),
            set(),
        ),
        ("preprocess.voc.mean", [0.4, 0.4, 0.4], {"preprocess@voc"}, {"transform@voc"}, set()),
    ],
    ids=[
        "opencv.threads",
        "inference.batch_size.classification",
        "benchmark.runs",
        "preprocess.voc.mean",
    ],
)
def test_repro_runs_what_changed_and_what_follows_from_changed_results(
    copy, key, value, targets, ran, at_most
):
    edit(copy, {key: value})
    before = digests(copy, "models", "data/preprocessed")
    found = dvc(copy, "repro", *sorted(targets)).stages
    assert found[0] == "check_params"
    assert ran <= set(found[1:]) - {"settings"} <= ran | at_most
    assert digests(copy, "models", "data/preprocessed") == before
    assert not dvc(copy, "repro", *sorted(targets)).stages


@pytest.fixture(scope="module")
def random_weights(pipeline, tmp_path_factory) -> Iterator[tuple[Path, Run]]:
    """The pipeline run again after one model's weights became random."""
    root = copied(pipeline, tmp_path_factory.mktemp("random"))
    edit(root, {f"models.{CLS}.weights": "random"})
    yield root, dvc(root, "repro")
    shutil.rmtree(root)


def test_changed_weights_rerun_one_model_and_leave_the_others_files(pipeline, random_weights):
    root, done = random_weights
    assert done.stages[0] == "check_params"
    assert done.stages[1] == "settings"
    assert set(done.stages[2:]) == {*FOLLOWING} | of(*FROM_WEIGHTS, models=(CLS,))
    assert scores(root)[f"metrics/{CLS}.json"] != scores(pipeline)[f"metrics/{CLS}.json"]
    same = [f"{folder}/{SEG}" for folder in ("models", "data/predictions", "plots/models")]
    same += [f"metrics/{folder}{SEG}.json" for folder in ("", "stability/", "benchmark/")]
    same += ["data/textures", "data/shapes", "data/preprocessed"]
    assert digests(root, *same) == digests(pipeline, *same)


def test_dvc_tells_which_constant_and_which_scores_changed(random_weights):
    root, _ = random_weights
    params = json.loads(dvc(root, "params", "diff", "--json").output)["params.yaml"]
    assert params == {f"models.{CLS}.weights": {"old": "probe", "new": "random"}}
    changes = json.loads(dvc(root, "metrics", "diff", "--json").output)[OVERVIEW]
    assert f"{CLS}.acc@1.opencv" in changes
    times = {name for name in changes if ".ms." in name}
    assert not [name for name in changes.keys() - times if name.startswith(SEG)]


def test_metrics_show_lists_the_few_figures_of_every_model_that_one_compares(pipeline):
    shown = json.loads(dvc(pipeline, "metrics", "show", "--json").output)[""]["data"]
    assert list(shown) == [OVERVIEW]
    for model, metric in ((CLS, "acc@1"), (SEG, "mean_iou")):
        figures = shown[OVERVIEW]["data"][model]
        assert list(figures) == ["verdict", metric, "exact", "rel", "agreement", "ms", "machine"]
        assert figures["verdict"] == "pass" and figures[metric].keys() == set(BACKENDS)
        assert figures["ms"].keys() == {"pytorch", "opencv"}


# Experiments


def test_an_experiment_sets_a_constant_and_touches_no_other_line(pipeline, copy):
    export = f"export_onnx@{CLS}"
    done = dvc(copy, "exp", "run", "-S", "export.opset=17", export)
    assert done.stages == ["check_params", "settings", export]
    (opset,) = onnx.load(copy / f"models/{CLS}/model.onnx").opset_import
    assert opset.version == 17
    before = (pipeline / "params.yaml").read_text(encoding="utf-8")
    after = (copy / "params.yaml").read_text(encoding="utf-8")
    assert after == before.replace("opset: 18", "opset: 17")

    git(copy, "checkout", "--quiet", "params.yaml")
    back = dvc(copy, "repro", export)
    assert back.stages == ["check_params", "settings"], "DVC's run cache has the export of before"
    onnx_file = f"models/{CLS}/model.onnx"
    assert digests(copy, onnx_file) == digests(pipeline, onnx_file)


def test_an_experiment_adds_a_model_with_all_its_stages(copy, monkeypatch):
    added = "+models.squeezenet1_0={task: classification, preprocess: imagenet, weights: random}"
    done = dvc(copy, "exp", "run", "-S", added, "weights@squeezenet1_0")
    assert done.stages == ["check_params", "settings", "weights@squeezenet1_0"]
    monkeypatch.chdir(copy)
    expected = {*FOLLOWING} | of(*FROM_WEIGHTS, models=("squeezenet1_0",))
    assert may_run(copy) == expected - {"weights@squeezenet1_0"}


# The verdict


def verdicts(root: Path) -> dict[str, str]:
    """Of each model, and of all together under the name `all`."""
    content = json.loads((root / "metrics/gate.json").read_text(encoding="utf-8"))
    models = {name: one["verdict"] for name, one in content["models"].items()}
    return models | {"all": content["verdict"]}


def test_every_model_of_the_pipeline_passes(pipeline):
    assert verdicts(pipeline) == {CLS: "pass", SEG: "pass", "all": "pass"}


def test_a_verdict_that_fails_is_a_result_like_any_other(pipeline, copy):
    """The stage ends well, so that `dvc exp run` keeps the experiment."""
    edit(copy, {"gate.overrides": {CLS: {"rel": 1e-12}}})
    done = dvc(copy, "repro")
    assert set(done.stages) == {"check_params", *FOLLOWING}
    assert f"\n{CLS}: FAIL: " in done.output and f"\n{SEG}: FAIL: " not in done.output
    assert verdicts(copy) == {CLS: "FAIL", SEG: "pass", "all": "FAIL"}
    changes = json.loads(dvc(copy, "metrics", "diff", "--json").output)[OVERVIEW]
    assert changes == {f"{CLS}.verdict": {"old": "pass", "new": "FAIL"}}
    assert not dvc(copy, "repro").stages
    assert run(copy, sys.executable, "-m", "stages.gate", "--check", ok=False).code == 1

    edit(copy, {"gate.overrides": {}})
    assert set(dvc(copy, "repro").stages) == {"check_params", *FOLLOWING}
    assert verdicts(copy) == verdicts(pipeline)


def test_an_experiment_that_does_not_pass_is_kept(copy):
    limit = "gate.limits.classification.exactness=1e-3"
    done = dvc(copy, "exp", "run", "--name", "strict", "-S", limit)
    assert set(done.stages) == {"check_params", *FOLLOWING}
    table = dvc(copy, "exp", "show", "--csv").output
    header, *rows = [line.split(",") for line in table.splitlines()]
    verdict = header.index(f"{CLS}.verdict")
    assert {row[0]: row[verdict] for row in rows}["strict"] == "FAIL"


def test_make_ends_with_the_summary_and_the_verdict_unless_another_stage_failed(copy):
    done = make(copy)
    summary = (copy / "plots/summary.md").read_text(encoding="utf-8")
    printed = done.output.index(summary)
    assert (done.code, done.stages) == (0, [])
    assert done.output[printed:].endswith(make(copy, "gate").output)
    assert done.output.endswith("2 of 2 models pass\n")

    edit(copy, {"gate.overrides": {CLS: {"rel": 1e-12}}})
    done = make(copy)
    assert done.code and set(done.stages) == {"check_params", *FOLLOWING}
    summary = (copy / "plots/summary.md").read_text(encoding="utf-8")
    assert f"\n{CLS}: no ratio of times: " in summary
    told = done.output[done.output.index(summary) :]
    assert "1 of 2 models pass; 1 fail: squeezenet1_1\nmake: *** " in told
    assert make(copy, "gate").code
    assert not (copy / ".dvc/tmp/dvc.lock.before").exists()

    with (copy / "stages/summary.py").open("a", encoding="utf-8") as file:
        file.write("raise SystemExit(3)\n")
    done = make(copy)
    assert done.code and done.stages == ["summary"]
    assert "models pass" not in done.output, "the verdict is of the run before"


# Wrong input


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"opencv.threds": 1}, "opencv.threds"),
        ({"models.squeezenet1_l": SMALL_PIPELINE["models"][CLS]}, "models.squeezenet1_l"),
        ({f"models.{CLS}.preprocess": "imagnet"}, f"models.{CLS}.preprocess"),
        ({"preprocess.imagenet.dataset": "texture"}, "preprocess.imagenet.dataset"),
    ],
    ids=["key", "model", "profile", "dataset"],
)
def test_a_typo_in_params_yaml_stops_the_run_before_anything_ran(fingerprintable, change, named):
    kept = ("metrics", "models", "data/preprocessed", "data/predictions", "data/results", "plots")
    before = digests(fingerprintable, *kept)
    edit(fingerprintable, change)
    done = dvc(fingerprintable, "repro", ok=False)
    assert done.code
    assert set(done.stages) <= {"check_params"}
    (line,) = [line for line in done.output.splitlines() if line.startswith("error: ")]
    assert line.startswith(f"error: params.yaml: {named}: ")
    assert "exited with 2" in done.output
    assert "Traceback" not in done.output
    assert digests(fingerprintable, *kept) == before


def test_a_name_that_a_shell_would_run_stops_a_single_stage_too(fingerprintable):
    params = (fingerprintable / "params.yaml").read_text(encoding="utf-8")
    entry = "{task: classification, preprocess: imagenet, weights: random}"
    (fingerprintable / "params.yaml").write_text(f"{params}  'x; touch hacked #': {entry}\n")
    for target in ("weights", "weights@x; touch hacked #"):
        done = dvc(fingerprintable, "repro", target, ok=False)
        assert done.code and not done.stages
        assert "models.x; touch hacked #: found 'x; touch hacked #'" in done.output
    assert not (fingerprintable / "hacked").exists()


def test_a_typo_that_dvc_itself_stumbles_over_runs_nothing(fingerprintable):
    """Without its `task` a model has no params that dvc.yaml could name."""
    edit(fingerprintable, {f"models.{CLS}": {"taks": "classification", "preprocess": "imagenet"}})
    done = dvc(fingerprintable, "repro", ok=False)
    assert done.code
    assert not done.stages
    assert "item.task" in done.output
    assert "Traceback" not in done.output


# Datasets of one's own


@pytest.fixture(scope="module")
def own_folder(pipeline, tmp_path_factory) -> Iterator[tuple[Path, Path]]:
    """A pipeline whose classification dataset is a folder elsewhere, preprocessed; the folder."""
    root = copied(pipeline, tmp_path_factory.mktemp("own"))
    folder = tmp_path_factory.mktemp("folder") / "my images"
    folder.mkdir()
    write_classification(folder, seed=1, train_images=12, val_images=6)
    edit(root, {"datasets.textures.source": str(folder)})
    dvc(root, "repro", "preprocess@imagenet")
    yield root, folder
    shutil.rmtree(root)


def image_of(folder: Path) -> Path:
    return min(path for path in folder.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg"))


def test_a_folder_is_used_in_place(own_folder):
    root, folder = own_folder
    assert list(digests(root, "data/textures")) == ["data/textures/dataset.json"]
    dataset = json.loads((root / "data/textures/dataset.json").read_text(encoding="utf-8"))
    assert dataset["root"] == str(folder)
    assert len(dataset["val"]) == 6


def test_plain_repro_notices_a_changed_image(own_folder):
    root, folder = own_folder
    assert not dvc(root, "repro", "preprocess@imagenet").stages
    stat = image_of(folder).stat()
    os.utime(image_of(folder), ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    assert dvc(root, "repro", "preprocess@imagenet").stages == [
        "fetch@textures",
        "preprocess@imagenet",
    ]
    assert not dvc(root, "repro", "preprocess@imagenet").stages


def test_a_broken_image_stops_its_stage_and_leaves_earlier_results(own_folder):
    root, folder = own_folder
    kept = ("metrics", "models", "data/preprocessed", "data/predictions")
    before = digests(root, *kept)
    image = image_of(folder)
    content = image.read_bytes()
    image.write_bytes(content[: len(content) // 2])
    done = dvc(root, "repro", ok=False)
    image.write_bytes(content)
    assert done.code
    assert done.stages[-1] == "preprocess@imagenet"
    (line,) = [line for line in done.output.splitlines() if line.startswith("error: ")]
    assert str(image) in line
    assert "exited with 2" in done.output
    assert "Traceback" not in done.output
    assert digests(root, *kept) == before


# Interruption


def stage_process(dvc_process: subprocess.Popen, stage: str) -> psutil.Process:
    """The process of a stage, once DVC started it."""
    parent = psutil.Process(dvc_process.pid)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and dvc_process.poll() is None:
        for child in parent.children(recursive=True):
            try:
                command = child.cmdline()
            except psutil.Error:  # it has ended
                continue
            if f"stages.{stage}" in command and Path(command[0]).name.startswith("python"):
                return child
        time.sleep(0.05)
    raise AssertionError(f"{stage} did not run")


def start_repro(root: Path, target: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "dvc", "repro", target],
        cwd=root,
        env=ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def interrupt(dvc_process: subprocess.Popen, stage: psutil.Process) -> None:
    """What Ctrl-C in a terminal does."""
    os.killpg(dvc_process.pid, signal.SIGINT)


def kill_stage(dvc_process: subprocess.Popen, stage: psutil.Process) -> None:
    """What the system does when memory runs out."""
    stage.kill()


def kill_all(dvc_process: subprocess.Popen, stage: psutil.Process) -> None:
    """What comes nearest to a power cut."""
    os.killpg(dvc_process.pid, signal.SIGKILL)


@pytest.mark.parametrize(
    ("end", "stage"),
    [(interrupt, "export_onnx"), (kill_stage, "weights"), (kill_all, "infer_pytorch")],
    ids=["ctrl-c", "stage killed", "all killed"],
)
def test_an_interrupted_run_is_completed_by_the_next(pipeline, copy, end: Callable, stage):
    path = copy / "stages" / f"{stage}.py"
    path.write_text(path.read_text(encoding="utf-8") + "pass\n", encoding="utf-8")
    (copy / f"metrics/{CLS}.json").unlink()
    evaluate = f"evaluate@{CLS}"
    process = start_repro(copy, evaluate)
    running = stage_process(process, stage)
    time.sleep(1)
    end(process, running)
    assert process.wait(60)
    psutil.wait_procs([running], timeout=60)
    assert not (copy / f"metrics/{CLS}.json").exists()

    again = dvc(copy, "repro", evaluate)
    assert again.stages == [f"{stage}@{CLS}", evaluate]
    assert scores(copy) == scores(pipeline)
    assert not [*copy.rglob("*.partial")]


def test_an_interrupted_inference_goes_on_in_the_next_run(copy):
    infer, out = f"infer_onnxruntime@{CLS}", f"data/predictions/{CLS}/onnxruntime"
    code = copy / "parity/backends/onnxruntime.py"
    slow = code.read_text(encoding="utf-8").replace("return session.run", SLOWLY)
    code.write_text(slow, encoding="utf-8")
    edit(copy, {"inference.batch_size.classification": 2})

    process = start_repro(copy, infer)
    note = copy / f"data/unfinished/{CLS}/onnxruntime/progress.json"
    while not note.exists():
        assert process.poll() is None
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(60)
    done = json.loads(note.read_text(encoding="utf-8"))["images"]
    assert 0 < done < 10 and not (copy / out).exists()

    again = dvc(copy, "repro", infer)
    assert again.stages == [infer]
    assert f"resuming after {done} images" in again.output
    assert not (copy / "data/unfinished").exists()
    went_on = digests(copy, out)
    run(copy, sys.executable, "-m", "stages.infer_onnxruntime", CLS)
    assert digests(copy, out) == went_on


SLOWLY = "import time; time.sleep(0.5); return session.run"


# Results


def keys(content: dict, above: str = "") -> set[str]:
    """The dotted keys of the numbers and texts of a JSON file."""
    found = set()
    for key, value in content.items():
        nested = isinstance(value, dict)
        found |= keys(value, f"{above}{key}.") if nested else {above + key}
    return found


@pytest.mark.parametrize(
    ("model", "names", "images"),
    [
        (CLS, ("acc@1", "acc@5"), 10),
        (SEG, ("pixel_acc", "mean_acc", "mean_iou", "fw_iou"), 3),
    ],
)
def test_metrics_have_the_contracts_keys_and_show_parity(pipeline, model, names, images):
    metrics = json.loads((pipeline / f"metrics/{model}.json").read_text(encoding="utf-8"))
    parity = ("l1", "linf", "rel", "agreement", "ties", "spread")
    expected = {f"{backend}.{name}" for backend in BACKENDS for name in (*names, "nonfinite")}
    expected |= {f"parity.{pair}.{name}" for pair in PAIRS for name in parity}
    expected |= {f"exact.{backend}.{name}" for backend in BACKENDS for name in ("rel", "rms")}
    expected |= {"exact.images", "exact.ratio.onnxruntime", "exact.ratio.opencv"}
    assert keys(metrics) == {"images"} | expected
    assert metrics["images"] == images
    assert all(0 <= metrics[backend][name] <= 100 for backend in BACKENDS for name in names)
    for pair in PAIRS:
        assert 0 <= metrics["parity"][pair]["l1"] <= metrics["parity"][pair]["linf"]
        assert metrics["parity"][pair]["rel"] <= 1e-4
        assert metrics["parity"][pair]["agreement"] >= 99.9
        assert metrics["parity"][pair]["spread"] > 0
    assert 0 < metrics["exact"]["ratio"]["opencv"] < 10


@pytest.mark.parametrize("model", [CLS, SEG])
def test_times_have_the_contracts_keys(pipeline, model):
    times = json.loads((pipeline / f"metrics/benchmark/{model}.json").read_text(encoding="utf-8"))
    numbers = ("median_ms", "p95_ms", "images_per_s")
    assert keys(times) >= {f"{backend}.{name}" for backend in BACKENDS for name in numbers}
    assert {"batch_size", "opencv_over_pytorch", "environment"} <= times.keys()
    assert all(times[backend][name] > 0 for backend in BACKENDS for name in numbers)
    interval = times["opencv_over_pytorch_interval"]
    assert 0 < interval["low"] <= interval["high"]


@pytest.mark.parametrize("model", [CLS, SEG])
def test_opencv_is_stable(pipeline, model):
    content = (pipeline / f"metrics/stability/{model}.json").read_text(encoding="utf-8")
    result = json.loads(content)
    assert result["images"] == 2 and result["stable"] is True


def has_reflinks(folder: Path) -> bool:
    (folder / "from").write_bytes(b"1")
    command = ["cp", "--reflink=always", "from", "to"]
    return not subprocess.run(command, cwd=folder, capture_output=True).returncode


@pytest.mark.parametrize(
    "pattern",
    ["models/*/weights.pth", "models/*/model.onnx", "data/preprocessed/*/*/images.npy"],
)
def test_models_and_images_are_on_the_disk_once(pipeline, tmp_path, pattern):
    """DVC's cache and the workspace share the file: a hard link, unless it is a reflink."""
    if has_reflinks(tmp_path):
        pytest.skip("a reflink cannot be told from a copy")
    held = [*pipeline.glob(pattern)]
    assert len(held) == 2
    assert all(path.stat().st_nlink > 1 for path in held)


def test_what_was_removed_comes_back_from_dvcs_cache(pipeline, copy):
    made = ("data", "models", "plots")
    for folder in made:
        shutil.rmtree(copy / folder)
    git(copy, "checkout", "--quiet", "--", "plots")
    dvc(copy, "checkout")
    assert digests(copy, *made) == digests(pipeline, *made)
    assert not dvc(copy, "repro").stages


# Params: what is listed is what is read


class ReadSection:
    """Stands for a section of params.yaml and notes the dotted key of every value that is read."""

    def __init__(self, section: BaseModel, key: str, read: set[str]) -> None:
        self._section, self._key, self._read = section, key, read

    def __getattr__(self, name: str) -> object:
        if name not in type(self._section).model_fields:
            raise AssertionError(f"{self._key}: {name} would read what nobody notes")
        return noted(getattr(self._section, name), f"{self._key}.{name}".lstrip("."), self._read)

    def of(self, task: str) -> object:
        return getattr(self, task)

    def model_dump(self, **options) -> dict:
        content = self._section.model_dump(**options)
        self._read |= {f"{self._key}.{key}" for key in keys(content)}
        return content

    def __reduce__(self) -> tuple:
        """What goes to another process is read there, where nobody notes it."""
        self.model_dump()
        return deepcopy, (self._section,)


class ReadEntries(Mapping):
    """The same for models, datasets and profiles. To look one up reads nothing yet; which there
    are is read with the section as a whole, the least that DVC can follow."""

    def __init__(self, entries: dict[str, BaseModel], key: str, read: set[str]) -> None:
        self._entries, self._key, self._read = entries, key, read

    def __getitem__(self, name: str) -> object:
        return noted(self._entries[name], f"{self._key}.{name}", self._read)

    def __iter__(self) -> Iterator[str]:
        self._read.add(self._key)
        return iter(self._entries)

    def __len__(self) -> int:
        self._read.add(self._key)
        return len(self._entries)


def noted(value: object, key: str, read: set[str]) -> object:
    if isinstance(value, BaseModel):
        return ReadSection(value, key, read)
    if isinstance(value, dict):
        return ReadEntries(value, key, read)
    read.add(key)
    return value


def leaves(params: BaseModel, key: str) -> list[str]:
    """The dotted keys of all values at or below `key`; one that is not set is a value itself."""
    value: object = params.model_dump(exclude_unset=True)
    for part in key.split("."):
        value = value.get(part)
    return sorted(keys(value, f"{key}.")) if isinstance(value, dict) else [key]


def listed_settings(stage) -> list[str]:
    """The keys of params.yaml that a stage lists by files of `settings`."""
    files = [Path(dep.def_path) for dep in stage.deps if "data/settings/" in dep.def_path]
    return [listed_key(file.parent.name, file.stem) for file in files]


def listed_key(model: str, section: str) -> str:
    # What mending depends on beyond this, its file has only for a model that is mended.
    of_entry = {NETWORK: f"models.{model}", MEND: f"models.{model}.mend"}
    return of_entry.get(section, section)


@dataclass(frozen=True)
class StageParams:
    """The params of one stage: the keys that dvc.yaml lists, all values there, the values read."""

    listed: list[str]
    below: set[str]
    read: set[str]


@contextmanager
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def read_params(command: str) -> set[str]:
    """Run a stage's command in this process; return the dotted keys of the values that it read."""
    _, _, module, *args = command.split()
    main = importlib.import_module(module).main
    read: set[str] = set()
    noting = {
        "load_params": lambda: noted(load_params(), "", read),
        "of_model": lambda _, name: noted(of_model(load_params(), name), "", read),
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, loaded in list(sys.modules.items()):
            if name.startswith(("stages.", "parity.")) and name not in NOT_NOTED:
                for function in noting.keys() & vars(loaded).keys():
                    patch.setattr(loaded, function, noting[function])
        main(args)
    return read


# The functions themselves, and what applies them to whole sections.
NOT_NOTED = ("parity.core.params", "parity.core.settings", "stages.settings")


@pytest.fixture(scope="module")
def rerun(pipeline, tmp_path_factory) -> Iterator[tuple[Path, dict[str, StageParams]]]:
    """All stages, run once more, in this process, with the params that they list and read."""
    root = copied(pipeline, tmp_path_factory.mktemp("rerun"))
    found = {}
    with pytest.MonkeyPatch.context() as patch, one_thread(), Repo(str(root)) as repo:
        patch.chdir(root)
        params = load_params()
        for stage in repo.index.stages:
            listed = stage_params(stage) + listed_settings(stage)
            if "params.yaml" in [dep.def_path for dep in stage.deps if not is_params(dep)]:
                listed = list(type(params).model_fields)
            below = {leaf for key in listed for leaf in leaves(params, key)}
            found[stage.name] = StageParams(listed, below, read_params(stage.cmd))
    yield root, found
    shutil.rmtree(root)


def test_results_are_the_same_each_time(pipeline, rerun):
    """Byte for byte, and in another process, but for the times."""
    root, _ = rerun
    results = ("models", "data", f"metrics/{CLS}.json", f"metrics/{SEG}.json")
    before, after = digests(pipeline, *results), digests(root, *results)
    assert before.keys() == after.keys()
    differing = {name for name in before if before[name] != after[name]}
    timed = {
        f"data/{folder}/{model}.json" for folder in ("results", "rounds") for model in (CLS, SEG)
    }
    assert differing <= timed


# DVC runs `fingerprints` whatever it lists.
@pytest.mark.parametrize("template", [name for name in TEMPLATES if name != "fingerprints"])
def test_a_stage_reads_no_constant_that_it_does_not_list(rerun, template):
    for name, stage in rerun[1].items():
        if name.partition("@")[0] == template:
            unlisted = {leaf for leaf in stage.read if not any_above(leaf, stage.listed)}
            # Whether a model starts as an ONNX file, which DVC cannot list where the key is absent:
            # with it, model.onnx is another.
            unlisted -= {f"models.{name.partition('@')[2]}.onnx"}
            unlisted -= {"cluster"}  # where a stage computes, which changes no result
            assert not unlisted, name


# check_params depends on the whole file. `from_weights` of a profile may be there or not, which DVC
# follows only with the whole profile, so that `transform` lists what `preprocess` reads too.
# `settings` reads whole sections, which nobody notes.
LISTS_MORE = ("check_params", "transform", "settings")


@pytest.mark.parametrize("template", [name for name in TEMPLATES if name not in LISTS_MORE])
def test_a_stage_lists_no_constant_that_it_does_not_read(rerun, template):
    """For some entry of its `foreach`: what one model reads, another of other weights may not."""
    entries = [stage for name, stage in rerun[1].items() if name.partition("@")[0] == template]
    read = {of_any_entry(leaf) for stage in entries for leaf in stage.read}
    below = {of_any_entry(leaf) for stage in entries for leaf in stage.below}
    assert not {leaf for leaf in below if not any_above(leaf, read) and not any_below(leaf, read)}


def any_above(leaf: str, keys: Iterable[str]) -> bool:
    return any(leaf == key or leaf.startswith(f"{key}.") for key in keys)


def any_below(leaf: str, keys: Iterable[str]) -> bool:
    return any(key.startswith(f"{leaf}.") for key in keys)


def of_any_entry(key: str) -> str:
    """models.resnet50.task as models.*.task: what dvc.yaml has once for all entries."""
    return re.sub(r"^(models|datasets|preprocess)\.[^.]+", r"\1.*", key)


# Real data


@needs_real
def test_real_images_run_through(tmp_path, pipeline, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copy(pipeline / "params.yaml", tmp_path)
    real = {"source": str(REAL / "imagenet"), "train": "none", "classes": "imagenet", "limit": 3}
    edit(tmp_path, {f"datasets.textures.{key}": value for key, value in real.items()})
    edit(tmp_path, {f"models.{CLS}.weights": "random"})
    with one_thread():
        fetch.main(["textures"])
        transform.main(["imagenet"])
        preprocess.main(["imagenet"])
        for stage in FROM_WEIGHTS:
            importlib.import_module(f"stages.{stage}").main([CLS])
    metrics = json.loads(Path(f"metrics/{CLS}.json").read_text(encoding="utf-8"))
    assert metrics["images"] == 3
    assert metrics["parity"]["opencv_vs_pytorch"]["rel"] <= 1e-4
    assert metrics["parity"]["opencv_vs_pytorch"]["agreement"] == 100
    assert np.load(f"data/predictions/{CLS}/opencv/logits.npy").shape == (3, 1000)
