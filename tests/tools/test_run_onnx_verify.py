"""run_onnx.py --verify: what a device says of a bundle."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers.bundles import change_weight, edit_json, tiny_content, unpack, verify_alone
from helpers.checkout import ROOT
from helpers.images import encoded, noise
from helpers.opencv4 import OPENCV

from parity.bundle.write import write_bundle, write_sums
from tools import run_onnx

STEPS = ["files", "decoding", "preprocessing", "network", "chain"]

both_tasks = pytest.mark.parametrize("task", ["classification", "segmentation"])


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> dict[str, Path]:
    """The folder of a bundle by its task, with the zip file beside it."""
    root = tmp_path_factory.mktemp("made")
    for task in ("classification", "segmentation"):
        write_bundle(root / task, tiny_content(root / f"of-{task}", task), force=False)
    return {path.name: path for path in root.iterdir() if not path.name.startswith("of-")}


@pytest.fixture
def bundle(made, tmp_path, monkeypatch) -> Path:
    """A bundle of a classification, to change; the current folder is another one."""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return Path(shutil.copytree(made["classification"], tmp_path / "bundle"))


class Verified:
    """How a verification ended, and the result of each step."""

    def __init__(self, code: int, output: str, errors: str) -> None:
        self.code, self.output, self.errors = code, output, errors
        lines = re.findall(rf"^({'|'.join(STEPS)}): (\w+): (.*)$", output, re.MULTILINE)
        self.results = {name: result for name, result, _ in lines}
        self.texts = {name: text for name, _, text in lines}

    @property
    def failed(self) -> list[str]:
        return [name for name, result in self.results.items() if result == "fail"]


@pytest.fixture
def verified(bundle, capfd):
    def verified(*flags: str) -> Verified:
        code, level = 0, cv2.utils.logging.setLogLevel(0)  # as run_onnx.py sets it
        try:
            run_onnx.run(["--verify", f"--bundle={bundle}", "--threads=1", *flags])
        except SystemExit as end:
            code = end.code
        finally:
            cv2.utils.logging.setLogLevel(level)
        return Verified(code, *capfd.readouterr())

    return verified


# As it was bundled


@both_tasks
def test_unpacked_alone_with_opencv_and_numpy_every_step_passes(made, tmp_path, bare_python, task):
    folder = unpack(made[f"{task}.zip"], tmp_path / "device")
    done = verify_alone(folder, "--report", "out.json", python=bare_python)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[-1] == "verify: pass"
    assert "decoding: pass: identical" in lines and "preprocessing: pass: bit for bit" in lines
    report = json.loads((folder / "out.json").read_text())
    assert report["passed"] and report["runner"] == "python" and report["model"] == "tiny"
    assert [step["result"] for step in report["steps"].values()] == ["pass"] * 5
    assert list(report["steps"]) == STEPS
    assert report["steps"]["network"]["rel"] < 1e-5
    assert report["steps"]["network"]["agreement"] == 100
    assert report["milliseconds"] > 0
    assert report["environment"]["opencv"] == cv2.__version__
    again = verify_alone(folder, "--report", "out.json", python=bare_python)
    assert again.returncode == 0


@pytest.mark.parametrize("engine", ["new", "classic"])
def test_the_engine_that_ran_is_named(verified, engine):
    done = verified("--engine", engine)
    assert done.code == 0
    assert f"asked for engine {engine}, " in done.output
    assert f"ran engine {engine}, backend opencv, target cpu" in done.output


@pytest.mark.process
def test_opencv_4_verifies_it_and_names_its_only_engine(bundle):
    opencv = ROOT / OPENCV
    if not opencv.is_dir():
        pytest.skip(f"there is no {opencv}")
    edit_json(bundle / "verify.json", lambda content: content["opencv"].update(engine="new"))
    write_sums(bundle)
    command = [sys.executable, "run_onnx.py", "--verify"]
    environment = os.environ | {"PYTHONPATH": str(opencv)}
    done = subprocess.run(command, cwd=bundle, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "here OpenCV 4.14.0" in done.stdout
    assert "asked for engine auto, " in done.stdout and "ran engine classic," in done.stdout


def test_files_that_the_bundle_does_not_list_do_not_count(bundle, verified):
    (bundle / "build").mkdir()
    (bundle / "build/cache.txt").write_text("of a compiler")
    assert verified("--report", "out.json").code == 0


# Changed on the way


def test_a_changed_weight_fails_files_and_network(bundle, verified):
    change_weight(bundle / "model.onnx")
    done = verified("--report", "out.json")
    assert (done.code, done.errors) == (1, "")
    assert done.failed[:2] == ["files", "network"]
    assert done.texts["files"] == "model.onnx has changed"
    assert done.output.splitlines()[-1].startswith("verify: fail: files, network")
    report = json.loads(Path("out.json").read_text())
    assert not report["passed"] and report["steps"]["network"]["rel"] > 0.01


def test_a_changed_pixel_fails_preprocessing(bundle, verified):
    path = bundle / "pixels/photo_1.png"
    image = cv2.imread(str(path))
    image[30, 45] ^= 255
    cv2.imwrite(str(path), image)
    write_sums(bundle)
    done = verified()
    assert done.code == 1
    assert "preprocessing" in done.failed and "network" not in done.failed
    assert "of 255 levels apart (limit 1)" in done.texts["preprocessing"]


def test_another_photo_fails_decoding_and_the_chain_says_why(bundle, verified):
    negative = 255 - cv2.imread(str(bundle / "pixels/photo_1.png"))[..., ::-1]
    (bundle / "images/photo_1.JPEG").write_bytes(encoded(negative, "JPEG"))
    write_sums(bundle)
    done = verified()
    assert done.code == 1 and done.failed == ["decoding", "chain"]
    assert done.texts["chain"].endswith("not for photo_1; differs because of decoding")


def test_a_decoder_that_rounds_otherwise_passes_within_the_limit(bundle, verified):
    path = bundle / "pixels/photo_0.png"
    image = cv2.imread(str(path))
    image[::7, ::5] = np.where(image[::7, ::5] < 128, image[::7, ::5] + 2, image[::7, ::5] - 2)
    cv2.imwrite(str(path), image)
    how = run_onnx.read_bundle(bundle).how
    np.save(bundle / "blobs/photo_0.npy", run_onnx.blob_of(image, how))
    write_sums(bundle)
    done = verified()
    assert done.texts["decoding"].startswith("at most 2 of 255 levels apart (limit 3), ")
    assert done.results["decoding"] == "pass" and done.results["preprocessing"] == "pass"


@pytest.mark.parametrize(
    ("name", "content", "failed"),
    [
        ("images/photo_0.JPEG", None, ["files", "decoding", "chain"]),
        ("images/photo_0.JPEG", encoded(noise(60, 90), "JPEG")[:900], ["files", "decoding"]),
        ("images/photo_0.JPEG", encoded(noise(61, 90), "JPEG"), ["files", "decoding"]),
        ("blobs/photo_0.npy", None, ["files", "preprocessing", "network"]),
        ("blobs/photo_0.npy", b"no array", ["files", "preprocessing", "network"]),
        ("logits/photo_0.npy", None, ["files", "network", "chain"]),
        ("labels.txt", b"other\n", ["files"]),
        ("SHA256SUMS", None, ["files"]),
        ("SHA256SUMS", b"no hash", ["files"]),
        ("SHA256SUMS", b"", ["files"]),
        ("model.onnx", b"", ["files", "network"]),
        ("model.onnx", None, ["files", "network"]),
    ],
)
def test_each_file_fails_the_steps_that_read_it(bundle, verified, name, content, failed):
    path = bundle / name
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    done = verified()
    assert (done.code, done.errors) == (1, "")
    assert done.failed[: len(failed)] == failed
    assert Path(name).name in done.output
    skipped = done.results["chain"] == "skipped"
    assert skipped == (name == "model.onnx")


def test_a_listed_file_outside_of_the_bundle_is_not_read(bundle, verified):
    (bundle / "SHA256SUMS").write_text(f"{'0' * 64}  ../../etc/passwd\n")
    done = verified()
    assert done.failed == ["files"] and "found the file name '../../etc/passwd'" in done.output


def test_logits_of_another_shape_fail_the_network(bundle, verified):
    np.save(bundle / "logits/photo_0.npy", np.zeros((1, 5), np.float32))
    done = verified()
    assert done.texts["network"] == "photo_0: found an output (1, 4); expected (1, 5)"


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_logits_that_are_no_numbers_fail_the_network(bundle, verified, value):
    np.save(bundle / "logits/photo_0.npy", np.full((1, 4), value, np.float32))
    what = "NaN" if np.isnan(value) else "infinity"
    assert verified().texts["network"] == f"photo_0: the bundled logits: found {what}"


def test_the_limits_are_those_of_the_bundle(bundle, verified):
    edit_json(bundle / "verify.json", lambda content: content["limits"].update(rel=1e-12))
    logits = np.load(bundle / "logits/photo_0.npy")
    np.save(bundle / "logits/photo_0.npy", logits * np.float32(1 + 1e-6))
    write_sums(bundle)
    done = verified()
    assert done.code == 1 and done.failed == ["network"]
    assert "(limit 1e-12)" in done.texts["network"]


def test_a_forced_bundle_says_first_that_it_did_not_pass(bundle, verified):
    change = {"forced": 1, "verdict": "FAIL: OpenCV is wrong"}
    edit_json(bundle / "verify.json", lambda content: content.update(change))
    write_sums(bundle)
    done = verified()
    assert done.code == 0
    assert done.output.splitlines()[0] == "this model did not pass: FAIL: OpenCV is wrong"


# Wrong input


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("verify.json", None, "verify.json: no such file; expected that of a bundle"),
        ("verify.json", b"{", "verify.json: not JSON"),
        ("verify.json", b"[]", "verify.json: found list; expected an object"),
        ("verify.json", b'{"format": 2}', "verify.json: found the format 2; expected 1"),
        ("verify.json", b'{"format": 1}', "verify.json: not a bundle's: KeyError 'limits'"),
        ("preprocessing.json", None, "preprocessing.json: no such file"),
        ("preprocessing.json", b"{}", "not a bundle's: KeyError 'task'"),
        (
            "preprocessing.json",
            b'{"task": "classification", "flags": "--resize big"}',
            "argument --resize",
        ),
    ],
)
def test_a_folder_that_is_no_bundle_is_refused_in_one_line(
    bundle, verified, name, content, expected
):
    (bundle / name).unlink()
    if content is not None:
        (bundle / name).write_bytes(content)
    done = verified()
    assert (done.code, done.output) == (2, "")
    assert expected in done.errors and done.errors.count("\n") == 1


def test_a_file_outside_of_the_bundle_is_refused(bundle, verified):
    outside = "../elsewhere/a.png"
    edit_json(bundle / "verify.json", lambda content: content["images"][0].update(pixels=outside))
    done = verified()
    assert done.code == 2 and f"found the file name '{outside}'" in done.errors


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--verify", "--model", "a.onnx"], "--model: found a.onnx; expected none"),
        (["--verify", "--input", "a.png"], "--input: found a.png; expected none"),
        (["--report", "a.json"], "--report: found a.json; expected --verify too"),
        (["--model", "a.onnx"], "the following arguments are required: --input"),
        (["--verify", "--engine", "steam"], "--engine: found 'steam'"),
        (["--verify", "--target", "cuda"], "--target: found 'cuda'"),
    ],
)
def test_flags_that_do_not_fit_are_refused_in_one_line(bundle, capfd, flags, expected):
    flags += [f"--bundle={bundle}"] if "--verify" in flags else []
    with pytest.raises(SystemExit) as end:
        run_onnx.run(flags)
    errors = capfd.readouterr().err
    assert end.value.code == 2 and expected in errors and errors.count("\n") == 1


def test_a_model_that_this_opencv_cannot_read_is_no_failure_of_the_bundle(bundle, verified):
    content = (bundle / "model.onnx").read_bytes()
    (bundle / "model.onnx").write_bytes(content.replace(b"GlobalAveragePool", b"GlobalAverageQool"))
    write_sums(bundle)
    done = verified()
    assert done.code == 2 and done.errors.count("\n") == 1
    version = cv2.__version__
    expected = f"error: OpenCV {version} cannot run this model, proven with OpenCV {version}: "
    assert done.errors.startswith(expected)
    assert "model.onnx: OpenCV cannot read it" in done.errors


def test_a_report_replaces_reports_alone(bundle, verified):
    Path("out.json").write_text('{"mine": 1}')
    done = verified("--report", "out.json")
    assert done.code == 2 and "out.json: cannot be written" in done.errors
    assert Path("out.json").read_text() == '{"mine": 1}'
