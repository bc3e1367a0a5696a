"""Every stage, and every tool that writes, on a disk that refuses: one line that names the file,
exit code 2, and what was there before stays as it was."""

import importlib
import shutil
import sys
from pathlib import Path

import pytest
from helpers.checkout import ROOT
from helpers.dvc_runs import digests, run
from helpers.faulty_disk import Ended, ended_on, needs_mount
from helpers.lock import locked_entry, write_lock
from helpers.refusals import refused

from parity.core.files import read_json, write_json
from parity.core.fingerprint_files import fingerprint_file
from parity.core.paths import prediction_folder
from stages import gate, summary

pytestmark = pytest.mark.process

MODEL = "squeezenet1_1"
STAGES = {  # the arguments of each stage, and the beginning of the path that it cannot write
    "fingerprints": ("", "data/fingerprints"),
    "check_params": ("", "data/checked.txt"),
    "fetch": ("textures", "data/textures"),
    "settings": ("", "data/settings"),
    "transform": ("imagenet", "data/transforms/imagenet"),
    "preprocess": ("imagenet", "data/preprocessed"),
    "weights": (MODEL, f"models/{MODEL}/"),
    "export_onnx": (MODEL, f"models/{MODEL}/model.onnx"),
    "mend": (MODEL, f"models/{MODEL}/mended.onnx"),
    "infer_pytorch": (MODEL, "data/unfinished"),
    "infer_onnxruntime": (MODEL, "data/unfinished"),
    "infer_opencv": (MODEL, "data/unfinished"),
    "infer_exact": (MODEL, "data/unfinished"),
    "evaluate": (MODEL, f"data/evaluation/{MODEL}/confusion.npz"),
    "stability": (MODEL, f"metrics/stability/{MODEL}.json"),
    "benchmark": (MODEL, f"data/rounds/{MODEL}.json"),
    "results": (MODEL, f"data/results/{MODEL}.json"),
    "plot": (MODEL, "plots/"),
    "summary": ("", "plots/"),
    "gate": ("", "metrics/"),
    "details": (MODEL, f"data/details/{MODEL}.json"),
    "vega": ("", "data/vega/bundle.js"),
    "report": ("", "plots/report.html"),
}
TOOLS = {"add_models": ("", "params.yaml"), "readme": ("summary", "README.md")}
COMMANDS = [
    [f"{package}.{name}", *arguments.split()]
    for package, modules in (("stages", STAGES), ("tools", TOOLS))
    for name, (arguments, _) in modules.items()
]


@pytest.fixture(scope="module")
def finished(_converted, tmp_path_factory) -> Path:
    """A project in which every stage ran."""
    folder = tmp_path_factory.mktemp("finished")
    shutil.copytree(_converted, folder, dirs_exist_ok=True)
    for name in ("dynamo.onnx", "torchscript.onnx"):
        (folder / name).unlink()
    (folder / "README.md").write_text("<!-- summary -->\n<!-- end -->\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name, (arguments, _) in STAGES.items():
            if name not in ("fetch", "transform", "preprocess", "weights", "export_onnx"):
                importlib.import_module(f"stages.{name}").main(arguments.split())
        write_lock({"summary": locked_entry([str(summary.TABLE)])})  # else readme calls it stale
    return folder


def test_each_stage_is_tried():
    stages = {path.stem for path in (ROOT / "stages").glob("[!_]*.py")}
    assert stages == STAGES.keys()


def check(command: list[str], ended: Ended, reason: str) -> None:
    package, _, name = command[0].partition(".")
    _, path = (STAGES if package == "stages" else TOOLS)[name]
    *progress, last = ended.stderr.splitlines()
    assert ended.code == 2 and ended.stdout == "", ended.stderr
    assert last.startswith(f"error: {path}") and reason in last
    assert not [line for line in progress if "rror" in line or "Traceback" in line]
    assert ended.changed == []


@needs_mount
@pytest.mark.parametrize(
    ("disk", "reason"),
    [
        ("full", "no space left on device: 0.000 MB free"),
        ("read-only", "read-only file system; make it writable, then run it again"),
        ("not permitted", "permission denied; allow the access, then run it again"),
        ("without inodes", "no space left on device: no more files fit"),
    ],
)
def test_what_a_disk_refuses_is_one_line_and_changes_nothing(finished, tmp_path, disk, reason):
    for command, ended in zip(COMMANDS, ended_on(disk, finished, COMMANDS, tmp_path), strict=True):
        check(command, ended, reason)


@needs_mount
@pytest.mark.parametrize("free", [50_000, 1_000_000])
def test_what_fits_in_part_leaves_nothing(finished, tmp_path, free):
    """torch.save, the exporter and the encoders of pictures lose the system's own error."""
    stages = ("weights", "export_onnx", "fetch", "preprocess", "plot", "summary")
    commands = [one for one in COMMANDS if one[0].removeprefix("stages.") in stages]
    refusals = 0
    for command, ended in zip(
        commands, ended_on(str(free), finished, commands, tmp_path), strict=True
    ):
        if ended.code:
            check(command, ended, "no space left on device")
            refusals += 1
        assert not [name for name in ended.changed if "partial" in name or name.endswith("/")]
    assert refusals >= 2


# Damaged files of the project's own


DAMAGE = {
    "empty": lambda content: b"",
    "cut off": lambda content: content[: len(content) // 2],
    "last byte gone": lambda content: content[:-1].rstrip(b"}]\n"),
    "zeros": lambda content: bytes(len(content)),
    "binary": lambda content: b"\xff\xfe\x00" * 50,
    "another array": lambda content: b"[]",
    "another object": lambda content: b"{}",
    "null": lambda content: b"null",
    "deep": lambda content: b"[" * 100_000,
    "a huge number": lambda content: b'{"images": ' + b"9" * 6000 + b"}",
}
READ_BY = {
    "data/textures/dataset.json": "preprocess",
    "data/transforms/imagenet/size.json": "preprocess",
    "data/transforms/imagenet/normalization.json": "infer_onnxruntime",
    "data/preprocessed/imagenet/val/images.npy": "infer_onnxruntime",
    "data/preprocessed/imagenet/val/labels.npy": "evaluate",
    f"models/{MODEL}/source.json": "results",
    f"data/predictions/{MODEL}/opencv/logits.npy": "evaluate",
    f"metrics/{MODEL}.json": "results",
    f"metrics/benchmark/{MODEL}.json": "results",
    f"metrics/stability/{MODEL}.json": "results",
    f"data/results/{MODEL}.json": "gate",
    f"data/evaluation/{MODEL}/confusion.npz": "plot",
    f"data/details/{MODEL}.json": "report",
    f"data/rounds/{MODEL}.json": "report",
}


@pytest.fixture
def project(finished, tmp_path, monkeypatch) -> Path:
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(("name", "stage"), READ_BY.items())
def test_a_damaged_file_is_named_with_the_command_that_mends_it(project, name, stage):
    path = Path(name)
    whole = path.read_bytes()
    main = importlib.import_module(f"stages.{stage}").main
    for damage in DAMAGE.values():
        path.write_bytes(damage(whole))
        with refused(f"{name}: damaged (", "); `make` writes it again"):
            main(STAGES[stage][0].split())


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_verdict_and_a_damaged_summary_are_named(project, monkeypatch, damage):
    """Even where dvc.lock has the hash of the damaged file."""
    for path, show in ((gate.GATE, gate.main), (summary.TABLE, summary.main)):
        monkeypatch.setattr(sys.modules[show.__module__], "check_current", lambda path: None)
        path.write_bytes(damage(path.read_bytes()))
        if path.suffix == ".json" or b"\xff" in path.read_bytes():
            with refused(f"{path}: damaged (", "`make`"):
                show(["--check" if show is gate.main else "--print"])


def test_damaged_fingerprints_are_made_again(project, capsys):
    fingerprints = importlib.import_module("stages.fingerprints")
    fingerprints.main([])
    for name in ("evaluate", "machine", f"models/{MODEL}", "datasets/textures"):
        path = fingerprint_file(name)
        whole = path.read_bytes()
        for damage in DAMAGE.values():
            path.write_bytes(damage(whole))
            fingerprints.main([])
            assert path.read_bytes() == whole
    assert "damaged; it is made again" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("key", "value"),
    [("images", None), ("parity", []), ("pytorch", 3), ("opencv", {}), ("failures", "no")],
)
def test_metrics_of_another_shape_are_named(project, key, value):
    path = Path(f"metrics/{MODEL}.json")
    write_json(path, read_json(path) | {key: value})
    with refused(f"{path}: damaged (", "`make` writes it again"):
        importlib.import_module("stages.results").main([MODEL])


@pytest.mark.parametrize("damage", ["empty", "cut off", "zeros", "binary"])
def test_a_list_of_names_that_is_cut_off_is_no_shorter_split(project, damage):
    path = Path("data/preprocessed/imagenet/val/names.txt")
    path.write_bytes(DAMAGE[damage](path.read_bytes()))
    before = (prediction_folder(MODEL, "pytorch") / "logits.npy").read_bytes()
    with refused("data/preprocessed/imagenet/val/", "damaged (", "`make` writes it again"):
        importlib.import_module("stages.infer_pytorch").main([MODEL])
    assert (prediction_folder(MODEL, "pytorch") / "logits.npy").read_bytes() == before


@pytest.mark.pipeline
def test_make_mends_what_a_stage_calls_damaged(copy):
    damaged = [
        f"metrics/{MODEL}.json",
        f"metrics/stability/{MODEL}.json",
        f"data/results/{MODEL}.json",
        "data/transforms/imagenet/size.json",
        f"data/evaluation/{MODEL}/confusion.npz",
    ]
    before = digests(copy, *damaged)
    for name in damaged:
        path = copy / name
        path.unlink()  # may be a link into DVC's cache
        path.write_bytes(b"{")
    (copy / ".dvc/tmp/verified.json").write_text("[]")
    note = copy / f"data/unfinished/{MODEL}/opencv/progress.json"
    note.parent.mkdir(parents=True)
    note.touch()
    refusal = run(copy, sys.executable, "-m", "stages.results", MODEL, ok=False)
    assert refusal.code == 2 and "`make` writes it again" in refusal.output
    run(copy, sys.executable, "-m", "tools.repro")
    assert digests(copy, *damaged) == before
