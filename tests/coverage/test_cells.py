"""`make coverage`: can its comparison fail, what do its verdicts mean, and does it go on."""

import copy
import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import psutil
import pytest
import torch
from helpers.checkout import ROOT, stage_process
from helpers.loaders import (
    load_broadcasting,
    load_crashing_with_two,
    load_doubling,
    load_drifting,
    load_opencv_of_and_tell,
    load_refusing,
    load_unwritten,
)
from helpers.params import write_params
from helpers.refusals import refused
from torch import nn

from parity.backends.contract import BackendFailure
from parity.backends.isolated import IsolatedForward
from parity.core.params import OpenCVParams, load_params
from parity.coverage import report as coverage_text
from parity.coverage.cells import (
    METHOD,
    Cell,
    is_done,
    judge,
    parse_exporters,
    read_cells,
    reason_of,
)
from parity.coverage.measure import Answers, Group, answers_of, change, figures_of
from parity.coverage.opencv_versions import engines_of, installed_version, provide
from parity.coverage.synthetic_images import patterns, spread
from parity.coverage.zoo import listed, parameters, zoo_network
from parity.evaluation.scores import relative_difference
from parity.networks.network import Logits
from tools import coverage, coverage_report

LIMIT = 1e-4
OPENCV = installed_version()
RIGHT, WRONG = "squeezenet1_1", "mobilenet_v3_small"
METHOD_2 = [1.05657, 0.855733, 0.543825, 0.463141, 0.576369]


def answers(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


# A comparison that can fail


@pytest.mark.parametrize("shape", [(4, 10), (3, 5, 8, 12)])
@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros_like,
        lambda right: np.full_like(right, right.mean()),
        lambda right: np.broadcast_to(right[:1], right.shape),
        lambda right: right[::-1],
        lambda right: np.roll(right, 1, axis=0),
        lambda right: np.roll(right, 1, axis=1),
        lambda right: right[:, ::-1],
        lambda right: np.where(right == right.max(), np.nan, right),
    ],
    ids=["zeros", "constant", "first", "reversed", "rotated", "classes", "mirrored", "nan"],
)
def test_what_is_wrong_differs_by_at_least_the_spread(shape, wrong):
    right = answers(shape)
    assert spread(right) > 0.01
    off = relative_difference(np.ascontiguousarray(wrong(right)), right)
    assert np.isnan(off) or off >= 0.5 * spread(right)


@pytest.mark.parametrize(
    "alike",
    [
        np.zeros((3, 5)),
        np.full((3, 5), 7.0),
        np.broadcast_to(answers((1, 5)), (3, 5)),
        answers((3, 1)) + np.zeros((3, 5)),
        answers((3, 5, 1, 1)) + np.zeros((3, 5, 4, 4)),
        np.array([[0.0, 1], [2, np.nan]]),
        np.array([[0.0, 1], [2, np.inf]]),
    ],
)
def test_outputs_that_are_alike_or_no_numbers_have_no_spread(alike):
    assert spread(alike.astype(np.float32)) == 0


def test_patterns_differ_from_one_another_and_stay_when_there_are_more():
    few, many = patterns(2, 24, 32, seed=3), patterns(4, 24, 32, seed=3)
    np.testing.assert_array_equal(few, many[:2])
    assert many.shape == (4, 3, 24, 32) and many.dtype == np.float32
    assert spread(many) > 0.1
    assert not np.array_equal(few, patterns(2, 24, 32, seed=4))
    averages = many.mean(axis=(2, 3))
    assert min(np.abs(a - b).max() for i, a in enumerate(averages) for b in averages[:i]) > 0.1


@pytest.fixture
def one_thread():
    """Small layers on several threads wait for one another when the machine is busy."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("name", "task"),
    [
        ("squeezenet1_1", "classification"),
        ("efficientnet_b0", "classification"),
        ("googlenet", "classification"),
        ("convnext_tiny", "classification"),
        ("swin_t", "classification"),
        ("lraspp_mobilenet_v3_large", "segmentation"),
    ],
)
@pytest.mark.usefixtures("one_thread")
def test_logits_are_of_normal_size_and_depend_on_the_image_and_on_the_layers(name, task):
    network = zoo_network(name, task, classes=5, size=(64, 64), seed=0, residual_scale=0.25)
    blob = torch.from_numpy(patterns(3, 64, 64, seed=0))
    logits = Logits(network).eval()
    with torch.inference_mode():
        right = logits(blob).numpy()
        assert 0.1 < np.abs(right).max() < 100
        assert spread(right) > 100 * LIMIT
        # Of layers with a handful of weights, as squeeze-and-excitation has, one may sleep.
        layers = [
            (name_of, layer)
            for name_of, layer in network.named_modules()
            if isinstance(layer, nn.Conv2d | nn.Linear) and layer.weight.numel() > 64
        ]
        for name_of, layer in layers[:: len(layers) // 8]:
            layer.weight.neg_()
            assert relative_difference(logits(blob).numpy(), right) > LIMIT, name_of
            layer.weight.neg_()


def test_the_weights_are_the_same_each_time():
    first, second = (
        zoo_network(RIGHT, "classification", 5, (64, 64), 0, 0.25).state_dict() for _ in range(2)
    )
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_another_method_has_another_number():
    """Where this fails, cells that were measured before hold something else: count METHOD up."""
    blob = patterns(2, 64, 64, seed=0)
    logits = Logits(zoo_network(RIGHT, "classification", 5, (64, 64), 0, 0.25)).eval()
    with torch.inference_mode():
        said = logits(torch.from_numpy(blob)).numpy()
    figures = [blob.std(), blob[1, 2, 10, 20], *said[0, :3]]
    assert METHOD == 2 and figures == pytest.approx(METHOD_2, rel=1e-3)


def test_torchvisions_models_are_bounded_by_their_size():
    every, small = listed(float("inf")), listed(5)
    assert every["vit_h_14"] == "classification" and every["fcn_resnet101"] == "segmentation"
    assert set(small) < set(every) and RIGHT in small and "vit_h_14" not in small
    assert parameters("resnet50") == pytest.approx(25.56, abs=0.01)


# Groups of images in a process of their own


def groups() -> list[Group]:
    blob = answers((4, 3, 2, 2))
    return [Group(blob, batch, 2 * blob[:, :, 0, 0]) for batch in (1, 2, 4)]


def run(load, some=None, **options):
    def start(environment):
        return IsolatedForward(load, limit_s=60, environment=environment, quiet=True)

    return list(answers_of(start, some or groups(), **options).values())


def test_images_are_run_alone_and_as_a_batch():
    some = groups()
    found = run(load_doubling, some)
    assert all(
        relative_difference(one.logits, group.reference) == 0
        for one, group in zip(found, some, strict=True)
    )
    assert [len(one.logits) for one in run(load_doubling, some, first_alone=True)] == [1, 2, 4]


def test_outputs_of_a_shape_that_would_broadcast_are_a_failure():
    alone, two, four = run(load_broadcasting)
    assert isinstance(alone, Answers)
    assert two.kind == four.kind == "shape" and "(1, 3); expected (4, 3)" in str(four)


def test_after_a_crash_the_next_group_is_run_in_a_new_process():
    alone, two, four = run(load_crashing_with_two)
    assert isinstance(alone, Answers) and isinstance(four, Answers)
    assert two.kind == "crashed" and "SIGSEGV" in str(two)


def test_a_model_that_is_not_read_fails_for_every_group():
    assert [one.kind for one in run(load_refusing)] == ["refused"] * 3


def test_an_answer_that_depends_on_memory_nobody_wrote_is_found():
    group = groups()[0]

    def start(environment):
        return IsolatedForward(load_unwritten, limit_s=60, environment=environment)

    (plain,) = answers_of(start, [group]).values()
    again = answers_of(lambda _: start({"MALLOC_PERTURB_": "165"}), [group], first_alone=True)
    assert "from the plain run" in change(plain, again[group].logits)
    assert change(plain, plain.logits) is None
    assert change(plain, BackendFailure("crashed", "SIGABRT")) == "crashed: SIGABRT"


@pytest.mark.parametrize(
    ("load", "run_that_differs"),
    [(load_doubling, None), (load_drifting, "again"), (load_unwritten, "dirty")],
)
def test_each_way_that_an_answer_may_change_is_tried(load, run_that_differs):
    def start(environment):
        return IsolatedForward(load, limit_s=60, environment=environment, quiet=True)

    some = groups()
    referee = {group: Answers(group.reference, 1.0) for group in some}
    exported = SimpleNamespace(onnxruntime=referee, folder=Path())
    fresh = {"plain": {}, "dirty": {"MALLOC_PERTURB_": "165"}}
    for one in figures_of(start, some, exported, fresh).values():
        assert (one["unstable"] or {"run": None})["run"] == run_that_differs


# What figures mean


def figures(*some: dict, **changes) -> dict:
    """Of a cell whose groups are right but for what is said."""
    right = {
        "failure": None,
        "before": None,
        "unstable": None,
        "onnxruntime_failed": False,
        "rel_pytorch": 1e-6,
        "rel_onnxruntime": 1e-6,
        "rel_export": 1e-6,
        "ms": 1.0,
    }
    blobs = ("1x3x8x8", "4x3x8x8")
    return {
        "task": "classification",
        "reference": {"spread": 0.5, "noise": 1e-5, "failure": None},
        "export": {"failure": None},
        "onnxruntime": {"failure": None},
        "groups": [
            right | {"blob": blob} | group
            for blob, group in zip(blobs, [*some, {}, {}], strict=False)
        ],
    } | changes


def failure(kind: str) -> dict:
    return {"kind": kind, "message": "why"}


@pytest.mark.parametrize(
    ("found", "verdict", "owner", "reason"),
    [
        (figures(), "same", None, ""),
        (figures({"failure": failure("refused")}), "refused", "engine", "why (right for 4x3x8x8)"),
        (figures({}, {"failure": failure("error")}), "refused", "engine", "4x3x8x8: why (right"),
        (figures({"failure": failure("crashed")}), "crashed", "engine", "why"),
        (figures({"failure": failure("timeout")}), "timeout", "engine", "why"),
        (figures({"failure": failure("shape")}), "different", "engine", "why"),
        (
            figures(
                {"failure": failure("refused"), "onnxruntime_failed": True},
                onnxruntime={"failure": failure("refused")},
            ),
            "refused",
            "export",
            "why",
        ),
        (
            figures(
                {"rel_pytorch": 0.1, "rel_export": None, "onnxruntime_failed": True},
                onnxruntime={"failure": failure("timeout")},
            ),
            "different",
            "unknown",
            "ONNX Runtime failed",
        ),
        (
            figures({"before": failure("crashed")}),
            "crashed",
            "engine",
            "why; with a file of fixed sizes right (right for 4x3x8x8)",
        ),
        (
            figures({"before": failure("shape")}, {"failure": failure("timeout")}),
            "different",
            "engine",
            "1x3x8x8: why",
        ),
        (
            figures({"before": failure("timeout"), "rel_pytorch": 1, "rel_onnxruntime": 1}),
            "different",
            "engine",
            "rel 1.0e+00 from PyTorch",
        ),
        (
            figures({}, {"rel_pytorch": 0.1, "rel_onnxruntime": 0.1}),
            "different",
            "engine",
            "1.0e-01",
        ),
        (figures({"rel_pytorch": 0.1, "rel_export": 0.1}), "different", "export", "from PyTorch"),
        (
            figures({"rel_pytorch": 1.2e-4, "rel_export": 9e-5, "rel_onnxruntime": 9e-5}),
            "different",
            "export and engine",
            "1.2e-04",
        ),
        (
            figures({"rel_pytorch": None, "rel_onnxruntime": None}),
            "different",
            "engine",
            "no number",
        ),
        (
            figures({"unstable": {"run": "MALLOC_PERTURB_=1", "found": "rel 3"}, "rel_pytorch": 9}),
            "unstable",
            "engine",
            "MALLOC_PERTURB_=1: rel 3",
        ),
        (
            figures({"rel_pytorch": 2e-4}, reference={"spread": 1, "noise": 3e-4, "failure": None}),
            "vacuous",
            "noise",
            "rel 2.0e-04 is rounding",
        ),
        (
            figures(reference={"spread": 1e-5, "noise": 0, "failure": None}),
            "vacuous",
            None,
            "1.0e-05",
        ),
        (figures(reference={"failure": failure("error")}, groups=[]), "refused", "model", "why"),
        (
            figures(reference={"failure": failure("timeout")}, groups=[]),
            "timeout",
            "model",
            "PyTorch: why",
        ),
        (
            figures({"rel_pytorch": 1e-3}, reference={"spread": 0, "noise": None, "failure": None}),
            "different",
            "export and engine",
            "",
        ),
        (
            figures({"rel_pytorch": 1.0}, reference={"spread": 0, "noise": 0, "failure": None}),
            "different",
            "export and engine",
            "",
        ),
        (
            figures(export={"failure": failure("error")}, groups=[]),
            "not exportable",
            "export",
            "why",
        ),
        (
            figures(export={"failure": failure("crashed")}, groups=[]),
            "crashed",
            "export",
            "why",
        ),
    ],
)
def test_a_verdict_is_the_worst_of_the_sizes_and_batches(project, found, verdict, owner, reason):
    judged = judge(found, load_params())
    assert (judged.verdict, judged.owner) == (verdict, owner)
    assert reason in judged.reason


def test_right_answers_of_fixed_sizes_alone_say_so(project):
    judged = judge(figures({}, {"before": failure("refused")}), load_params())
    assert judged.verdict == "same" and judged.fixed
    assert "fixed sizes" in judged.reason and "why" in judged.reason


def test_what_a_fresh_process_could_not_do_in_time_is_said(project):
    judged = judge(figures({}, {"fresh_failure": failure("timeout")}), load_params())
    assert judged.verdict == "same"
    assert judged.reason == "4x3x8x8: not all was tried in fresh processes: why"


def test_another_limit_is_another_verdict_without_another_run(project):
    found = figures({"rel_pytorch": 5e-4, "rel_onnxruntime": 5e-4})
    assert judge(found, load_params()).verdict == "different"
    write_params(project, {"gate.limits.classification.rel": 1e-3})
    assert judge(found, load_params()).verdict == "same"


def test_a_reason_names_no_folder_of_this_machine():
    folder = Path("/data/work/net")
    message = (
        f"{folder}/dynamo18.onnx: OpenCV cannot read it: OpenCV(5.0.0) /io/opencv/modules/dnn/src/"
        "onnx_importer.cpp:1114: error: (-2:Unspecified error) in function 'handleNode'\n> Node"
    )
    expected = "OpenCV cannot read it: onnx_importer.cpp:1114: error: (-2:Unspecified error) in"
    assert reason_of(message, folder) == f"{expected} function 'handleNode' > Node"


# The run


@pytest.fixture(scope="module")
def _measured(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("coverage")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_params(folder)
        coverage.main(["--models", f"{RIGHT} {WRONG}", "--jobs", "2"])
    return folder


@pytest.fixture
def measured(_measured, tmp_path, monkeypatch) -> Path:
    """A project with two models measured. Its own copy."""
    subprocess.run(["cp", "-a", f"{_measured}/.", str(tmp_path)], check=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def record() -> dict:
    return json.loads(Path("metrics/coverage.json").read_text(encoding="utf-8"))


def verdicts(model: str) -> dict[str, str]:
    return {column: cell["verdict"] for column, cell in record()["models"][model]["cells"].items()}


def times() -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in Path("data/coverage/cells").glob("*/*")}


def test_each_exporter_and_engine_has_a_verdict(measured):
    columns = {
        f"{exporter} 18, {engine} {OPENCV}"
        for exporter in ("dynamo", "torchscript")
        for engine in ("classic", "new")
    }
    assert verdicts(RIGHT) == dict.fromkeys(columns, "same")
    assert verdicts(WRONG).keys() == columns
    for engine in ("classic", "new"):
        assert verdicts(WRONG)[f"torchscript 18, {engine} {OPENCV}"] == "same"
        wrong = record()["models"][WRONG]["cells"][f"dynamo 18, {engine} {OPENCV}"]
        assert wrong["verdict"] == "different" and wrong["owner"] == "engine" and wrong["rel"] > 0.1
    cell = record()["models"][RIGHT]["cells"][f"dynamo 18, new {OPENCV}"]
    assert cell["ms"] > 0 and cell["onnxruntime_ms"] > 0 and record()["models"][RIGHT]["ms"] > 0


def test_large_files_do_not_stay(measured):
    assert not list(Path("data/coverage").rglob("*.onnx")) + list(Path("data").rglob("*.pth"))


def test_a_second_run_measures_nothing_and_a_missing_cell_is_measured_alone(measured, capsys):
    before = times()
    coverage.main(["--models", f"{RIGHT},{WRONG}"])
    assert times() == before and "0 cells of 0 models to measure" in capsys.readouterr().err
    lost = Path(f"data/coverage/cells/{RIGHT}/torchscript18-new-{OPENCV}.json")
    lost.unlink()
    coverage.main(["--models", RIGHT, "--jobs", "1"])
    changed = {path for path, time_ns in times().items() if before[path] != time_ns}
    assert changed == {lost}


@pytest.mark.parametrize(
    ("change", "still"),
    [
        ({"seed": 1}, False),
        ({"coverage.images": 3}, False),
        ({"coverage.sizes.classification": ["96x96"]}, False),
        ({"coverage.time_limit": 50}, True),
        ({"gate.limits.classification.rel": 1e-3}, True),
        ({"coverage.max_parameters": 50}, True),
    ],
)
def test_a_constant_reruns_what_depends_on_it(measured, change, still):
    write_params(measured, change)
    cell = Cell(RIGHT, "classification", "dynamo", 18, "new", OPENCV)
    assert is_done(cell, load_params()) == still
    assert bool(read_cells(load_params())) == still


@pytest.mark.parametrize(
    ("found", "met"),
    [
        ({"failure": failure("timeout")}, True),
        ({"before": failure("crashed")}, True),
        ({"failure": {"kind": "error", "message": "OpenCV cannot run it: std::bad_alloc"}}, True),
        ({"fixed_failure": {"kind": "error", "message": "out of memory, limit 8 GB"}}, True),
        ({"fresh_failure": failure("timeout")}, True),
        ({"failure": {"kind": "error", "message": "in function 'getMemoryShapes'"}}, False),
    ],
)
def test_a_cell_that_met_a_limit_is_measured_again_with_another(measured, found, met):
    cell = Cell(RIGHT, "classification", "dynamo", 18, "new", OPENCV)
    content = json.loads(cell.path.read_text())
    content["groups"][0] |= found
    cell.path.write_text(json.dumps(content))
    assert is_done(cell, load_params())
    write_params(measured, {"coverage.time_limit": 200})
    assert is_done(cell, load_params()) != met


def test_other_cores_are_no_other_machine(measured, monkeypatch):
    """Each backend runs on one thread."""
    monkeypatch.setattr("parity.core.machine.cores", lambda: 77)
    assert len(read_cells(load_params())) == 8


@pytest.mark.parametrize("content", ["", '{"model": ', "[]", "{}"])
def test_a_damaged_cell_counts_as_not_measured(measured, capsys, content):
    cell = Cell(RIGHT, "classification", "dynamo", 18, "new", OPENCV)
    cell.path.write_text(content)
    assert not is_done(cell, load_params()) and len(read_cells(load_params())) == 7
    assert f"{cell.path}: damaged; counts as not measured" in capsys.readouterr().err


def test_a_model_that_an_exporter_cannot_convert_or_that_is_too_slow_is_a_result(project):
    write_params(project, {"coverage.time_limit": 0.001})
    coverage.main(["--models", RIGHT, "--exporters", "dynamo", "--engines", "new"])
    (cell,) = record()["models"][RIGHT]["cells"].values()
    assert (cell["verdict"], cell["owner"]) == ("timeout", "model")
    assert "PyTorch: did not end within 0.001 s" in cell["reason"]
    assert "timeout" in Path("COVERAGE.md").read_text()


def test_an_interrupted_run_leaves_no_process_and_goes_on(project):
    args = ["--models", RIGHT, "--exporters", "torchscript", "--jobs", "1"]
    process = stage_process("coverage", *args, cwd=project, start_new_session=True)
    try:
        while not list(project.glob("data/coverage/cells/*/*.json")):
            assert process.poll() is None, process.communicate()
            time.sleep(0.02)
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
    finally:
        process.kill()
        process.communicate()
    assert not psutil.wait_procs(children, 10)[1]
    (first,) = before = times()
    coverage.main(args)
    assert len(times()) == 2 and times()[first] == before[first]


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (["--models", "resnet51"], "MODELS: found 'resnet51'; did you mean resnet"),
        (["--models", "vit_h_14"], "vit_h_14 has 633 million parameters; coverage.max_parameters"),
        (["--exporters", "onnx"], "EXPORTERS: found 'onnx'; expected of dynamo, torchscript"),
        (["--exporters", "dynamo:7"], "EXPORTERS: dynamo: found opset '7'; expected 11 to 26"),
        (
            ["--engines", "fast"],
            f"ENGINES, OpenCV {OPENCV}: found 'fast'; expected of auto, classic",
        ),
        (["--jobs", "0"], "JOBS: found '0'; expected an integer of at least 1"),
        (["--jobs", "two"], "JOBS: found 'two'"),
        (["--opencv", "five"], "OPENCV: found 'five'; expected a version"),
        (["--opencv", "--index-url=x"], "OPENCV: found '--index-url=x'; expected a version"),
        (["--opencv", "0.0.1"], "OPENCV: pip cannot install opencv-python 0.0.1: "),
    ],
)
def test_misuse_is_refused_in_one_line(project, monkeypatch, args, expected):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    with refused(expected):
        coverage.main([f"{args[0]}={args[1]}"])
    assert not list(project.glob("data/coverage/opencv*"))


def test_lists_take_commas_and_spaces_and_an_opset(project):
    params = load_params()
    assert parse_exporters("", params) == [("dynamo", 18), ("torchscript", 18)]
    assert parse_exporters("dynamo:20, dynamo dynamo:18", params) == [
        ("dynamo", 20),
        ("dynamo", 18),
    ]


# Versions of OpenCV


def test_the_opencv_of_a_folder_is_the_one_that_runs(converted):
    version = f"{cv2.__version__}.0"  # as that of a package, with the number of a build
    folder = converted / f"data/coverage/opencv-{version}"
    folder.mkdir(parents=True)
    installed = Path(cv2.__file__).parent
    for part in (installed, *installed.parent.glob("opencv_python*.libs")):
        shutil.copytree(part, folder / part.name)
    assert provide(version) == folder and provide(OPENCV) is None
    assert engines_of(version, folder) == ["auto", "classic", "new"]
    how = OpenCVParams(**load_params().opencv.model_dump() | {"engine": "new", "threads": 1})
    blob = answers((2, 3, 64, 64))
    with IsolatedForward(
        load_opencv_of_and_tell, folder, converted / "dynamo.onnx", how, limit_s=60
    ) as forward:
        assert forward(blob).shape == (2, 10)


def test_a_folder_without_opencv_is_refused(project):
    folder = project / "data/coverage/opencv-1.2.3"
    (folder / "cv2").mkdir(parents=True)
    (folder / "cv2/__init__.py").write_text("raise ImportError('built for another numpy')")
    with refused("OPENCV: 1.2.3 cannot be loaded: built for another numpy"):
        coverage.main(["--opencv", "1.2.3"])


# The report


def other(**changes: str) -> dict:
    """The record with another verdict of the model right, by engine."""
    changed = copy.deepcopy(record())
    for engine, verdict in changes.items():
        changed["models"][RIGHT]["cells"][f"dynamo 18, {engine} {OPENCV}"]["verdict"] = verdict
    return changed


def compare(old: dict, new: dict, capsys) -> tuple[str, int]:
    for name, content in (("old.json", old), ("new.json", new)):
        Path(name).write_text(json.dumps(content))
    code = 0
    try:
        coverage_report.main(["--compare", "old.json", "new.json"])
    except SystemExit as end:
        code = end.code
    return capsys.readouterr().out, code


def test_two_records_are_compared(measured, capsys):
    text, code = compare(record(), record(), capsys)
    assert text == "no verdict changed\n" and code == 0
    text, code = compare(record(), other(new="refused", classic="different"), capsys)
    assert "worse: 2" in text and code == 1
    assert f"{RIGHT}, dynamo, new: same -> refused" in text
    fixed = record()
    fixed["models"][RIGHT]["cells"][f"dynamo 18, classic {OPENCV}"]["fixed"] = True
    text, code = compare(record(), fixed, capsys)
    assert "classic: same -> same (fixed)" in text and code == 1
    text, code = compare(other(new="crashed"), record(), capsys)
    assert "better: 1" in text and "crashed -> same" in text and code == 0
    less = record()
    del less["models"][RIGHT]
    text, code = compare(record(), less, capsys)
    assert "only in the first: 4 cells of 1 models" in text and code == 0
    less["models"] = {"another": less["models"].pop(WRONG)}
    with refused("the two records have no model and combination in common"):
        compare(record(), less, capsys)


def test_records_of_other_versions_are_compared_all_the_same(measured, capsys):
    text = json.dumps(other(new="refused"))
    newer = json.loads(text.replace(OPENCV, "5.9.9.1").replace("dynamo 18", "dynamo 20"))
    newer["constants"]["versions"]["torch"] = "9.9"
    text, code = compare(record(), newer, capsys)
    assert f"OpenCV {OPENCV} -> 5.9.9.1" in text and code == 1
    assert f"{RIGHT}, dynamo, new: same -> refused" in text
    more = record()
    for model in more["models"].values():
        for column, cell in list(model["cells"].items()):
            model["cells"][column.replace(OPENCV, "4.1.0")] = copy.deepcopy(cell)
    added, code = compare(record(), more, capsys)
    assert code == 0 and "new: 8 cells of 2 models" in added and "worse" not in added
    torch_then = record()["constants"]["versions"]["torch"]
    assert f"measured otherwise: versions.torch {torch_then} (now 9.9)" in text


@pytest.mark.parametrize(
    ("content", "expected"),
    [(None, "neither a file nor a revision"), ("{", "not a record"), ("[]", "not a record")],
)
def test_what_is_no_record_is_refused(project, content, expected):
    if content is not None:
        Path("old.json").write_text(content)
    with refused(expected):
        coverage_report.main(["--compare", "old.json", "old.json"])


def test_a_record_is_found_in_a_revision_of_git(measured, capsys):
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    for command in (["init", "-q"], ["add", "metrics"], ["commit", "-qm", "a"]):
        subprocess.run([*git, *command], check=True, env=environment)
    coverage_report.main(["--compare", "HEAD", "metrics/coverage.json"])
    assert "no verdict changed" in capsys.readouterr().out


def test_the_page_has_a_row_a_model_a_footnote_a_reason_and_the_advice(measured):
    text = Path("COVERAGE.md").read_text(encoding="utf-8")
    (row,) = [line for line in text.splitlines() if line.startswith(f"| {WRONG}")]
    assert row.count("✗ **different**[^1]") == 2 and row.count("✓ same") == 2
    assert "torchscript 18, " in row
    (note,) = [line for line in text.splitlines() if line.startswith("[^1]: ")]
    assert "from PyTorch" in note and "owner: engine" in note
    assert "use **torchscript 18, " in text and "right for 2 of 2 models" in text
    assert f"| dynamo 18, new {OPENCV}" in text


def test_the_picture_is_drawn_and_repeats(measured):
    first = Path("plots/coverage.png").read_bytes()
    assert cv2.imread("plots/coverage.png").shape[1] > 200
    coverage_report.main([])
    assert Path("plots/coverage.png").read_bytes() == first


def test_an_upgrade_is_compared_by_engine(measured):
    changed = record()
    cells = changed["models"][RIGHT]["cells"]
    for exporter in ("dynamo", "torchscript"):
        old = copy.deepcopy(cells[f"{exporter} 18, classic {OPENCV}"])
        cells[f"{exporter} 18, classic 4.1.0"] = old
    cells[f"dynamo 18, new {OPENCV}"]["verdict"] = "crashed"
    text = coverage_text.answer(changed)
    assert f"From OpenCV 4.1.0 to {OPENCV}, engine new in place of classic" in text
    assert f"worse: 1\n  {RIGHT}, dynamo 18: same -> crashed" in text
    assert "engine classic</summary>\n\n```\nno verdict changes" in text
    assert f"With OpenCV {OPENCV}, use" in text


def test_an_engine_is_compared_with_the_same_of_the_older_version(measured):
    changed = record()
    for model in changed["models"].values():
        for column, cell in list(model["cells"].items()):
            model["cells"][column.replace(OPENCV, "5.9.9.1")] = copy.deepcopy(cell)
    changed["models"][WRONG]["cells"][f"dynamo 18, new {OPENCV}"]["verdict"] = "refused"
    text = coverage_text.answer(changed)
    title = f"From OpenCV {OPENCV} to 5.9.9.1, engine"
    assert f"{title} classic</summary>\n\n```\nno verdict changes" in text
    assert f"{title} new</summary>\n\n```\nworse: 1" in text


def test_a_version_that_few_models_were_tried_with_gives_no_advice(measured):
    changed = record()
    cells = changed["models"][RIGHT]["cells"]
    cells["dynamo 18, new 5.9.9.1"] = copy.deepcopy(cells[f"dynamo 18, new {OPENCV}"])
    text = coverage_text.answer(changed)
    assert f"With OpenCV {OPENCV}, use" in text and "right for 2 of 2 models" in text
    assert f"use with {OPENCV}" in text and "No combination" not in text


def test_what_was_not_tried_in_full_is_not_called_wrong(measured):
    changed = record()
    cells = changed["models"][WRONG]["cells"]
    for column in [one for one in cells if one.startswith("torchscript")]:
        del cells[column]
    text = coverage_text.answer(changed)
    assert "No combination" not in text and "**none**" not in text


def test_the_advised_combination_is_named_unless_another_is_clearly_faster(measured):
    changed = record()
    cells = changed["models"][RIGHT]["cells"]
    best = coverage_text.advised(changed)
    other_one = next(one for one in cells if one != best)
    for column in cells:
        cells[column] |= {"ms": 100.0, "fixed": False}
    cells[other_one]["ms"] = 81.0
    assert coverage_text.use_of(changed, RIGHT) == best
    cells[other_one]["ms"] = 79.0
    assert coverage_text.use_of(changed, RIGHT) == other_one
    cells[other_one]["fixed"] = True
    assert coverage_text.use_of(changed, RIGHT) == best
    for cell in cells.values():
        cell["verdict"] = "refused"
    assert coverage_text.use_of(changed, RIGHT) == ""


def test_a_narrowed_run_elsewhere_keeps_the_rows_that_were_measured_alike(measured):
    for path in Path("data/coverage/cells", RIGHT).glob("*"):
        path.unlink()
    coverage_report.main([])
    assert record()["models"].keys() == {RIGHT, WRONG}
    write_params(measured, {"gate.limits.classification.accuracy_loss": 3})
    coverage_report.main([])
    assert record()["models"].keys() == {RIGHT, WRONG}


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"gate.spread": 0.02}, "limits.spread 0.01 (now 0.02)"),
        ({"coverage.images": 3}, "images 2 (now 3)"),
    ],
)
def test_a_record_that_would_lose_rows_is_not_replaced(measured, change, named):
    for path in Path("data/coverage/cells", RIGHT).glob("*"):
        path.unlink()
    before = Path("metrics/coverage.json").read_bytes(), Path("COVERAGE.md").read_bytes()
    write_params(measured, change)
    for command in (coverage_report.main, coverage.main):
        with refused("metrics/coverage.json: ", f"are of {named}", "or move the file away"):
            command([] if command is coverage_report.main else ["--models", WRONG])
    after = Path("metrics/coverage.json").read_bytes(), Path("COVERAGE.md").read_bytes()
    assert after == before


def test_a_row_that_met_a_limit_is_not_kept_under_another(measured):
    changed = record()
    changed["models"][WRONG]["cells"][f"dynamo 18, new {OPENCV}"]["verdict"] = "timeout"
    Path("metrics/coverage.json").write_text(json.dumps(changed))
    shutil.rmtree("data/coverage/cells")
    coverage_report.main([])
    write_params(measured, {"coverage.time_limit": 200})
    with refused("1 of its cells (1 models, 1 combinations) are of time_limit", "(now 200)"):
        coverage_report.main([])


def test_a_damaged_record_is_named(measured):
    Path("metrics/coverage.json").write_text('{"models": {')
    with refused("metrics/coverage.json: not a record of `make coverage`"):
        coverage_report.main([])


def test_the_readmes_table_is_that_of_the_record():
    committed = coverage_report.read_record(str(ROOT / "metrics/coverage.json"))
    text = (ROOT / "README.md").read_text("utf-8")
    assert f"<!-- coverage -->\n{coverage_text.short(committed)}<!-- end -->" in text


def test_the_page_is_that_of_the_record():
    committed = coverage_report.read_record(str(ROOT / "metrics/coverage.json"))
    assert (ROOT / "COVERAGE.md").read_text("utf-8") == coverage_text.answer(committed)


def test_before_any_run_there_is_no_page(project, capsys):
    coverage_report.main([])
    assert "nothing was measured yet" in capsys.readouterr().err
    assert not Path("COVERAGE.md").exists()


# Make


@pytest.mark.parametrize("flag", ["MODELS", "EXPORTERS", "ENGINES", "JOBS", "OPENCV"])
def test_make_hands_a_flag_over_as_it_stands(flag, tmp_path):
    """Neither make nor the shell reads a command in it."""
    marker = tmp_path / "read"
    text = f"$(shell touch {marker})$(touch {marker})`touch {marker}`"
    environment = {name: value for name, value in os.environ.items() if "MAKE" not in name}
    command = ["make", "--dry-run", "coverage", f"{flag}={text}"]
    recipe = subprocess.check_output(command, cwd=ROOT, env=environment, text=True)
    assert f'--{flag.lower()}="${flag}"' in recipe
    shell = recipe[recipe.index("python -m tools.coverage") :].replace("python -m", "printf %s")
    printed = subprocess.check_output(
        ["bash", "-c", shell], env=environment | {flag: text}, text=True
    )
    assert text in printed and not marker.exists()
