import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from helpers.checkout import ROOT
from helpers.commands import Run, run_main
from helpers.faulty import BLOB, network, parse, unstable
from helpers.onnx_files import OPENCV_REFUSES, add_external_tensor, write_tiny_onnx
from helpers.refusals import refused
from helpers.requirements import LIGHT, WHOLE, packages
from onnx import ModelProto

from tools import check, mend

WRONG = ROOT / "reproducers/mobilenet_v3_small/model.onnx"  # HardSigmoid, taken for HardSwish
IMAGES, FIXED = "float[N, 3, 8, 8]", "float[1, 3, 8, 8]"
MODULES = {"opencv-python": "cv2", "pillow": "PIL", "ruamel.yaml": "ruamel"}  # of packages


@pytest.fixture
def run(capsys, tmp_path, monkeypatch):
    """Run the command in an empty folder; returns its exit code and stdout."""
    monkeypatch.chdir(tmp_path)

    def call(*args: object) -> Run:
        return run_main(check.main, args, capsys)

    return call


def write(model: ModelProto, name: str = "given.onnx") -> str:
    onnx.save(model, name)
    return name


@pytest.mark.process
def test_a_right_file(run):
    checked = run(write(network()), "--engine", "new")
    assert checked.code == 0 and checked.result["right"]
    assert "verdict: right: the engine new decides" in checked.text
    engine = checked.result["engines"]["new"]
    assert engine["verdict"] == "right" and engine["owner"] is None
    assert engine["rel"] <= engine["limit"] and 0 < engine["exactness"] < 20
    assert engine["passed"] == checked.result["blobs"] == [[n, 3, 16, 16] for n in (1, 2, 3)]
    assert checked.result["mend"] is None


@pytest.mark.process
def test_a_silently_wrong_file_and_the_command_that_mends_it(run, tmp_path):
    given = tmp_path / "of mine.onnx"
    given.write_bytes(WRONG.read_bytes())
    checked = run(given, "--engine", "new")
    assert checked.code == 1 and not checked.result["right"]
    rule, cause = checked.result["known"]
    assert rule["rule"] == "hard_sigmoid" and rule["nodes"] == ["node_hardsigmoid"]
    assert cause["source"] == "cause" and cause["nodes"] == ["node_mul_119"]
    engine = checked.result["engines"]["new"]
    assert (engine["verdict"], engine["owner"]) == ("different", "engine")
    assert engine["node"]["name"] == "node_mul_119" and "node: node_mul_119 (Mul)" in checked.text
    python, module, tool, *args = shlex.split(checked.result["mend"])
    assert (python, module, tool) == ("python", "-m", "tools.mend")
    mend.main(args)
    assert run(tmp_path / "of mine-mended.onnx", "--engine", "new").code == 0


@pytest.mark.process
def test_the_engine_that_runs_the_file_decides(run):
    """The new one does not read this file, and OpenCV does not fall back to the classic one."""
    body, shape = "z = ConstantOfShape (s) y = Add (x, z)", np.int64([1, 3, 8, 8])
    model = parse(body, f"{FIXED} x", f"{FIXED} y", s=shape)
    checked = run(write(model))
    assert checked.code == 1 and checked.result["decides"] == "new"
    engines = checked.result["engines"]
    assert engines["classic"]["verdict"] == "right" and engines["new"]["verdict"] == "refused"
    assert "constantofshape_layer.cpp" in engines["new"]["message"]
    assert engines["new"]["node"]["operator"] == "ConstantOfShape"
    assert run("given.onnx", "--engine", "classic").code == 0


@pytest.mark.process
def test_a_refused_file_that_no_rule_mends(run):
    checked = run(write_tiny_onnx(Path("given.onnx"), *OPENCV_REFUSES), "--engine", "new")
    engine = checked.result["engines"]["new"]
    assert checked.code == 1 and engine["verdict"] == "refused" and not engine["passed"]
    assert engine["node"]["operator"] == "Bernoulli" and checked.result["mend"] is None


@pytest.mark.process
def test_a_crash_that_only_a_second_image_causes(run):
    """A constant stack of matrices that must broadcast."""
    weights = np.random.default_rng(0).standard_normal((1, 3, 4, 4)).astype(np.float32)
    shapes = "float[N, 1, 4, 4] x", "float[N, 3, 4, 4] y"
    checked = run(write(parse("y = MatMul (x, w)", *shapes, w=weights)), "--engine", "new")
    engine = checked.result["engines"]["new"]
    assert checked.code == 1 and engine["verdict"] == "crashed"
    assert engine["where"] == "blob (2, 1, 4, 4)" and engine["passed"] == [[1, 1, 4, 4]]
    assert engine["node"]["operator"] == "MatMul"


@pytest.mark.process
def test_a_batch_that_fails_only_after_another(run):
    body, shape = 'y = Einsum <equation = "nij,njk->nik"> (x, x)', "float[N, 4, 4]"
    checked = run(write(parse(body, f"{shape} x", f"{shape} y")), "--engine", "new")
    engine = checked.result["engines"]["new"]
    assert checked.code == 1 and engine["passed"] == [[1, 4, 4]]
    assert engine["node"]["operator"] == "Einsum"
    assert "blob (2, 4, 4) alone is right" in engine["note"]
    assert checked.result["mend"]


@pytest.mark.process
def test_an_unstable_file(run):
    checked = run(write(unstable()), "--engine", "new")
    engine = checked.result["engines"]["new"]
    assert checked.code == 1 and engine["verdict"] == "unstable"
    assert engine["node"]["operator"] == "Resize"


@pytest.mark.process
def test_a_given_blob_is_run_and_passed_on_to_the_command(run):
    blob = WRONG.with_name("input.npy")
    checked = run(WRONG, "--engine", "new", "--input", blob, "--json")
    assert checked.code == 1 and checked.text.count("\n") == 1
    assert checked.result["input"] == str(blob)
    assert checked.result["blobs"] == [[*np.load(blob).shape]]
    assert f"--input {blob}" in checked.result["mend"]


def test_a_file_that_onnx_runtime_cannot_read_is_the_exporters(run):
    model = parse("y = Relu (x)", f"{IMAGES} x", f"{IMAGES} y")
    model.graph.node[0].domain = "mine"
    model.opset_import.add(domain="mine", version=1)
    checked = run(write(model))
    assert checked.code == 1 and checked.result["owner"] == "export"
    assert "ONNX Runtime cannot read" in checked.text and not checked.result["engines"]


@pytest.mark.parametrize(
    ("model", "parts"),
    [
        (parse("y = Add (a, b)", "float[3] a, float[3] b"), ["found 2 inputs: a, b; expected one"]),
        (
            parse("y = Cast <to = 1> (x)", "int64[3] x"),
            ["found input x of type int64; expected float"],
        ),
        (parse("y = Identity (w)", outputs="float[3] y", w=np.float32([1, 2, 3])), ["no output"]),
        (
            parse("y = Relu (x)", "float[N, T, 8] x", "float[N, T, 8] y"),
            ["found an input (any, any, 8)", "--input"],
        ),
    ],
    ids=["two inputs", "integers", "constant", "open axes"],
)
def test_a_file_that_cannot_be_checked_is_refused_in_a_line(run, model, parts):
    with refused("given.onnx", *parts):
        run(write(model))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file"),
        (b"", "not a valid ONNX file: it holds no graph"),
        (b"no model\n" * 9, "not a valid ONNX file"),
    ],
    ids=["missing", "empty", "text"],
)
def test_what_is_no_onnx_file_is_refused_by_name(run, content, message):
    if content is not None:
        Path("given.onnx").write_bytes(content)
    with refused(f"given.onnx: {message}"):
        run("given.onnx")


def test_external_data_that_is_missing_is_refused_by_name(run):
    path = add_external_tensor(write_tiny_onnx(Path("given.onnx")), "weights.bin")
    Path("weights.bin").unlink()
    with refused("given.onnx: tensor far: external data: found location weights.bin"):
        run(path)


def test_a_blob_that_does_not_fit_is_refused_with_both_shapes(run):
    np.save("blob.npy", BLOB)
    model = parse("y = Relu (x)", f"{IMAGES} x", f"{IMAGES} y")
    with refused("blob.npy: found shape (1, 3, 16, 16); given.onnx expects (any, 3, 8, 8)"):
        run(write(model), "--input", "blob.npy")


def test_make_without_a_file_says_what_is_missing(run):
    with refused("ONNX: missing"):
        run("--input", "", "")


@pytest.mark.process
def test_it_runs_in_another_project_without_what_the_light_install_lacks(tmp_path):
    """In each of its processes; a params.yaml of that project is not read."""
    blocked = {MODULES.get(name, name) for name in packages(WHOLE) - packages(LIGHT)}
    kept = {MODULES.get(name, name) for name in packages(LIGHT)}
    (tmp_path / "sitecustomize.py").write_text(f"""
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {sorted(blocked - kept)!r}:
            raise ModuleNotFoundError(f"{{name}}: not in the light install")

sys.meta_path.insert(0, Blocked())
""")
    project = tmp_path / "project"
    project.mkdir()
    (project / "params.yaml").write_text("of: another project\n")
    body, shape = "y = Relu (x)", "float[1, 3, 4, 4]"
    onnx.save(parse(body, f"{shape} x", f"{shape} y"), project / "model.onnx")
    command = [sys.executable, "-m", "tools.check", "model.onnx", "--engine", "new"]
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}:{ROOT}"}
    done = subprocess.run(
        command, cwd=project, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["right"]
    assert [path.name for path in project.iterdir()] == ["params.yaml", "model.onnx"]
