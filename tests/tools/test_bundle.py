"""`make bundle`: what it writes, what it refuses; and that whoever runs a model on a photo gets the
same answer."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers.bundles import digests, lock_results_of, tiny_content, unpack, verify_alone
from helpers.cpp_runner import Runners
from helpers.params import write_params
from helpers.refusals import refused
from helpers.results import faithful

from parity.backends.onnxruntime import write_optimized
from parity.core.params import load_params
from parity.core.paths import bundle_path, dataset_path
from parity.datasets.dataset import Dataset
from parity.evaluation.results import write_results
from parity.inference.predictions import read_logits
from stages import infer_pytorch
from tools import bundle, clean, demo, prune

CLS = "squeezenet1_1"
BUNDLE, ARCHIVE = bundle_path(CLS), Path(f"{bundle_path(CLS)}.zip")
ROW = re.compile(r"^ *(\d+)  .+? +(-?\d+\.\d{4}) +\d+\.\d\d %$", re.MULTILINE)

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def _evaluated(_converted, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("evaluated")
    shutil.copytree(_converted, folder, dirs_exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        infer_pytorch.main([CLS])
        write_results(faithful(model=CLS))
        lock_results_of(CLS)
        Path(".dvc").mkdir()
    return folder


@pytest.fixture
def evaluated(_evaluated, tmp_path, monkeypatch) -> Path:
    """A project whose model passes, by results that are current; its own copy."""
    shutil.copytree(_evaluated, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def exit_code(*args: str) -> int:
    try:
        bundle.main([*args])
    except SystemExit as end:
        return end.code
    return 0


def test_the_bundle_of_a_model_verifies_itself_where_there_is_nothing_else(
    evaluated, tmp_path_factory, bare_python, capsys
):
    assert exit_code("--images", "3") == 0
    assert capsys.readouterr().out == f"bundle: {BUNDLE}\nbundle: {ARCHIVE}\n"
    device = unpack(ARCHIVE, tmp_path_factory.mktemp("device") / "bundle")
    done = verify_alone(device, python=bare_python)
    assert (done.returncode, done.stderr) == (0, "")
    for line in ("decoding: pass: identical", "preprocessing: pass: bit for bit"):
        assert line in done.stdout
    assert len([*(device / "images").iterdir()]) == 3
    before = digests(evaluated / BUNDLE), ARCHIVE.read_bytes()
    assert exit_code(CLS, "--images=3") == 0
    assert (digests(evaluated / BUNDLE), ARCHIVE.read_bytes()) == before


def test_one_that_does_not_pass_is_refused_with_its_verdict_unless_forced(evaluated, capsys):
    write_results(faithful(model=CLS, parity={"opencv_vs_onnxruntime": {"rel": 0.5}}))
    lock_results_of(CLS)
    assert exit_code("--model", CLS) == 1
    errors = capsys.readouterr().err
    assert f"{CLS}: not bundled: FAIL: OpenCV against ONNX Runtime: rel 0.5" in errors
    assert not BUNDLE.exists() and not ARCHIVE.exists()

    assert exit_code("--model", CLS, "--images", "1", "--force") == 0
    assert f"{CLS}: bundled although it does not pass: FAIL" in capsys.readouterr().err
    assert json.loads((BUNDLE / "verify.json").read_text())["forced"] == 1
    done = verify_alone(BUNDLE)
    assert done.returncode == 0
    assert done.stdout.startswith("this model did not pass: FAIL: OpenCV against ONNX Runtime")


def test_results_that_are_not_of_the_present_inputs_prove_nothing(evaluated):
    write_results(faithful(model=CLS, images=7))
    with refused(f"data/results/{CLS}.json: not of the present inputs: ", "`make` renews it"):
        exit_code(CLS)
    assert not BUNDLE.exists()


def test_wrong_arguments_are_refused(evaluated):
    with refused("params.yaml: models.resnet: no such entry"):
        exit_code("resnet")
    with refused("--input: found no image in none"):
        exit_code(str(tiny_content(evaluated / "of", images=1).onnx), "--input=")
    with refused("--images: found 0; expected 1 to 20"):
        exit_code(CLS, "--images", "0")
    with refused(f"{CLS} is an entry of `models`"):
        exit_code(CLS, "--input", "a.png")
    with refused("missing.onnx: no such file"):
        exit_code("missing.onnx", "--input", "a.png")


def test_any_onnx_file_is_bundled_beside_itself_if_opencv_agrees_with_onnx_runtime(project, capsys):
    content = tiny_content(project / "of")
    shutil.copy(content.onnx, project / "of/any.onnx")
    photos = [str(one.file) for one in content.examples]
    assert exit_code("--model", "of/any.onnx", "--input", *photos) == 0
    done = verify_alone(unpack(Path("of/any-bundle.zip"), Path("device")))
    assert (done.returncode, done.stderr) == (0, "")
    assert "proven with onnxruntime 1." in done.stdout
    limits = load_params().gate.limits.classification.model_dump() | {"rel": 1e-12}
    write_params(project, {"gate.limits.classification": limits})
    capsys.readouterr()
    before = digests(project / "of/any-bundle")
    assert exit_code("of/any.onnx", "--input", *photos) == 1
    assert "of/any.onnx: not bundled: network: fail: rel" in capsys.readouterr().err
    assert digests(project / "of/any-bundle") == before


def test_clean_and_prune_take_bundles_away_as_they_were_written(evaluated, capsys):
    exit_code(CLS, "--images", "1")
    (BUNDLE / "mine.txt").write_text("mine")
    prune.prune_bundles([CLS])
    assert [path.name for path in BUNDLE.rglob("*")] == ["mine.txt"] and not ARCHIVE.exists()
    assert f"{BUNDLE}/mine.txt: kept" in capsys.readouterr().err
    (BUNDLE / "mine.txt").unlink()
    BUNDLE.rmdir()
    exit_code(CLS, "--images", "1")
    clean.main([])
    assert not BUNDLE.exists() and not ARCHIVE.exists()


# The same photo


@pytest.fixture
def photo(evaluated) -> Path:
    """The first evaluated photo, beside a bundle."""
    assert exit_code(CLS, "--images", "1") == 0
    dataset = Dataset.load(dataset_path("textures"))
    return Path(dataset.root, dataset.val[0].image).absolute()


def check_top_five(answer: str) -> None:
    """Check that a printed answer to that photo is the evaluated one."""
    expected = read_logits(CLS, "pytorch", 0, 1)[0]
    best = np.argsort(-expected, kind="stable")[:5].tolist()
    rows = ROW.findall(answer)
    assert [int(index) for index, _ in rows] == best
    logits = [float(logit) for _, logit in rows]
    np.testing.assert_allclose(logits, expected[best], atol=2e-4)


def test_evaluation_demo_and_device_give_the_same_top_five_for_the_same_photo(photo, capfd):
    capfd.readouterr()
    demo.main(["classification", "--model", CLS, "--image", str(photo)])
    opencv, _, pytorch = capfd.readouterr().out.partition("\nPyTorch ")
    command = [sys.executable, "-I", "run_onnx.py", "--model=model.onnx", f"--input={photo}"]
    device = subprocess.run(command, cwd=BUNDLE, capture_output=True, text=True, check=True)
    for answer in (opencv, pytorch, device.stdout):
        check_top_five(answer)


def test_the_runner_in_cpp_gives_the_same_top_five(photo, cpp_programs, capfd):
    """OpenCV 4.6 of Debian reads the file once the exporter's Identity nodes are folded."""
    write_optimized(BUNDLE / "model.onnx", Path("folded.onnx"))
    runner = Runners(cpp_programs / "run_onnx/run_onnx", capfd)
    done = runner.cpp("--model=folded.onnx", f"--input={photo}")
    assert done.code == 0, done.errors
    check_top_five(done.output)
