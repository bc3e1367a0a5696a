import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from helpers.checkout import ROOT
from helpers.commands import Run, run_main
from helpers.faulty import parse
from helpers.refusals import refused

from tools import mend

WRONG = ROOT / "reproducers/mobilenet_v3_small"  # HardSigmoid, taken for HardSwish
SHAPE = "float[1, 2, 8, 8]"


@pytest.fixture
def run(capsys, tmp_path, monkeypatch):
    """Run the command in an empty folder; returns its exit code and stdout."""
    monkeypatch.chdir(tmp_path)

    def call(*args: object) -> Run:
        return run_main(mend.main, args, capsys)

    return call


def mend_wrong(run, *args: object) -> Run:
    return run("--model", WRONG / "model.onnx", "--input", WRONG / "input.npy", *args)


def write_model(body: str, name: str = "given.onnx") -> Path:
    onnx.save(parse(body, f"{SHAPE} input", f"{SHAPE} output"), name)
    return Path(name)


@pytest.mark.process
@pytest.mark.parametrize("engine", ["new", "classic"])
def test_a_wrong_file_is_mended_and_the_proof_can_be_repeated(run, engine):
    mended = mend_wrong(run, "--output", "mended.onnx", "--engine", engine)
    assert mended.code == 0 and "FAILS" not in mended.text
    assert mended.result["rules"] == {"hard_sigmoid": 1} and mended.result["mended"]
    assert mended.result["before"]["verdict"] == "different"
    assert mended.result["after"]["verdict"] == "same" and mended.result["after"]["rel"] < 1e-5
    ops = [node.op_type for node in onnx.load("mended.onnx").graph.node]
    assert "HardSigmoid" not in ops and "Clip" in ops

    again = mend_wrong(run, "--verify", "mended.onnx", "--engine", engine)
    assert again.code == 0 and again.result["verified"]


@pytest.mark.process
def test_a_mended_file_that_was_changed_is_not_verified(run):
    mend_wrong(run, "--output", "mended.onnx")
    model = onnx.load("mended.onnx")
    model.graph.initializer[0].raw_data = np.float32(3).tobytes()
    onnx.save(model, "mended.onnx")
    verified = mend_wrong(run, "--verify", "mended.onnx")
    assert verified.code == 1 and not verified.result["verified"]
    assert "FAILS: the original after the listed steps" in verified.text


@pytest.mark.process
def test_a_mended_file_is_not_mended_again(run):
    mend_wrong(run, "--output", "mended.onnx")
    with refused("mended.onnx: it is mended already"):
        run("--model", "mended.onnx", "--output", "again.onnx")


@pytest.mark.process
def test_a_listed_rule_that_does_not_help_is_named(run):
    tried = mend_wrong(run, "--output", "mended.onnx", "--rules", "constant_folding,hard_sigmoid")
    assert tried.code == 0 and tried.result["rules"] == {"hard_sigmoid": 1}
    Path("mended.onnx").unlink()
    tried = mend_wrong(run, "--output", "mended.onnx", "--rules", "constant_of_shape")
    assert tried.code == 1 and "tried: no rule fits" in tried.text and not tried.result["rules"]


@pytest.mark.process
def test_a_right_file_is_copied(run):
    path = write_model("output = Relu (input)")
    mended = run("--model", path, "--output", "mended.onnx")
    assert mended.code == 0 and "nothing to mend" in mended.text
    assert not mended.result["mended"] and mended.result["rules"] == {}
    assert Path("mended.onnx").read_bytes() == path.read_bytes()


@pytest.mark.process
def test_what_no_rule_mends_gets_a_reproducer(run):
    path = write_model("a = Relu (input) b = GlobalLpPool (a) output = Add (b, input)")
    mended = run("--model", path, "--output", "mended.onnx")
    assert mended.code == 1 and not Path("mended.onnx").exists()
    assert mended.result["before"] == mended.result["after"]
    assert mended.result["before"]["verdict"] == "refused"
    assert mended.result["reproducer"] == "mended-reproducer"
    assert Path("mended-reproducer/reproduce.py").exists()


@pytest.mark.process
def test_no_pytorch_is_loaded_for_a_file(tmp_path):
    code = f"""
import sys
from tools import mend
mend.main(["--model", {str(WRONG / "model.onnx")!r}, "--output", {str(tmp_path / "m.onnx")!r}])
sys.exit("torch" in sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=120)


@pytest.mark.parametrize(
    ("args", "parts"),
    [
        ([], ["expected a MODEL, or --model"]),
        (["resnet50", "--model", "m.onnx"], ["expected a MODEL, or --model"]),
        (["--model", "m.onnx"], ["--output: missing"]),
        (["--model", "m.onnx", "--verify", "n.onnx", "--output", "o.onnx"], ["--verify: "]),
        (["--model", "m.onnx", "--output", "o.onnx"], ["m.onnx: no such file"]),
        (["--model", "given.onnx", "--output", "given.onnx"], ["the original would be replaced"]),
        (["--model", "given.onnx", "--output", "mine.onnx"], ["mine.onnx: exists"]),
        (["--model", "given.onnx", "--output", "o.onnx", "--rules", "hard"], ["found rule 'hard'"]),
        (["--model", "given.onnx", "--verify", "given.onnx"], ["lists no steps of mending"]),
        (["--model", "given.onnx", "--output", "o.onnx", "--input", "b.npy"], ["b.npy: no such"]),
    ],
)
def test_wrong_input_is_refused(run, args, parts):
    write_model("output = Relu (input)")
    Path("mine.onnx").write_text("mine")
    with refused(*parts):
        run(*args)
    assert Path("mine.onnx").read_text() == "mine" and not Path("o.onnx").exists()
