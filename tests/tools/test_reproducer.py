import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from helpers.bad_onnx_files import write_bad_onnx
from helpers.commands import Run, run_main
from helpers.faulty import change_weight, parse
from helpers.onnx_files import add_external_tensor
from helpers.params import write_params
from helpers.refusals import refused

from parity.faults.reproducer import FIXED_FILES
from tools import reproducer

pytestmark = pytest.mark.process

FILES = ["REPORT.md", "expected.npy", "input.npy", "model.onnx", "reproduce.py"]


@pytest.fixture
def reproduced(capsys, one_rewrite):
    """Run the command; returns its exit code and stdout."""

    def call(*args: object) -> Run:
        return run_main(reproducer.main, args, capsys)

    return call


def write_files(folder: Path, operator: str) -> list[object]:
    """Write a model of one operator and a blob; returns the arguments."""
    shape = "float[1, 2, 8, 8]"
    model = parse(f"output = {operator} (input)", f"{shape} input", f"{shape} output")
    onnx.save(model, folder / "given.onnx")
    blob = np.random.default_rng(0).standard_normal((1, 2, 8, 8)).astype(np.float32)
    np.save(folder / "blob.npy", blob)
    names = {"model": "given.onnx", "input": "blob.npy", "output": "out"}
    return [part for key, name in names.items() for part in (f"--{key}", folder / name)]


def test_mobilenet_by_dynamo_shrinks_to_a_handful_of_nodes(mobilenet_by_dynamo, reproduced):
    run = reproduced("mobilenet_v3_small")
    assert run.code == 0
    assert "the smallest change that works: exporter torchscript" in run.text
    folder = mobilenet_by_dynamo / "reproducers/mobilenet_v3_small"
    assert run.text.startswith("reproducers/mobilenet_v3_small: ")
    assert sorted(path.name for path in folder.iterdir()) == FILES
    assert sum(path.stat().st_size for path in folder.iterdir()) < 20_000

    model = onnx.load(folder / "model.onnx")
    ops = [node.op_type for node in model.graph.node]
    assert len(ops) <= 5 and {"HardSigmoid", "Mul"} <= set(ops)
    onnx.checker.check_model(model, full_check=True)
    content = (folder / "model.onnx").read_bytes()
    assert b"stack_trace" not in content and b"site-packages" not in content

    report = (folder / "REPORT.md").read_text()
    for part in (
        "### System Information", "### Detailed description", "### Steps to reproduce",
        "OpenCV 5.0.0", "Compiler: ", "SqueezeExcitation", "onnxruntime", "- classic: rel",
        "| exporter torchscript", "the fault is there",
        "`make mend` steers round it with 9 \N{MULTIPLICATION SIGN} hard_sigmoid (`hard_sigmoid`: ",
    ):  # fmt: skip
        assert part in report
    assert str(mobilenet_by_dynamo) not in report and "site-packages" not in report
    assert "- Compiler: /" not in report


def test_a_second_run_says_that_the_finding_is_the_same(tmp_path, reproduced):
    arguments = [*write_files(tmp_path, "MeanVarianceNormalization"), "--engine", "new"]
    first = reproduced(*arguments)
    assert first.code == 0 and "left unchanged" not in first.text
    report = tmp_path / "out/REPORT.md"
    before = report.read_bytes(), report.stat().st_mtime_ns
    assert str(tmp_path).encode() not in before[0]
    second = reproduced(*arguments)
    line = f"\n{tmp_path / 'out'}: left unchanged: it already holds this finding\n"
    assert second.code == 0 and line in second.text
    assert (report.read_bytes(), report.stat().st_mtime_ns) == before


def test_the_first_of_several_outputs_is_compared_and_named(tmp_path, capsys):
    """The classic engine returns the last output where none is named."""
    arguments = [str(one) for one in write_files(tmp_path, "Relu")]
    model = onnx.load(path := tmp_path / "given.onnx")
    model.graph.node.append(onnx.helper.make_node("Neg", ["output"], ["aux"]))
    shape = (1, 2, 8, 8)
    model.graph.output.append(onnx.helper.make_tensor_value_info("aux", 1, shape))
    onnx.save(model, path)
    reproducer.main([*arguments, "--engine", "classic"])
    out, err = capsys.readouterr()
    assert "nothing is wrong in OpenCV" in out
    assert f"{path}: 2 outputs (output, aux); output is compared\n" in err


def test_a_file_that_cannot_be_used_is_refused(tmp_path):
    arguments = [str(one) for one in write_files(tmp_path, "Relu")]
    add_external_tensor(path := tmp_path / "given.onnx", "../" * 30 + "etc/passwd")
    with refused(f"{path}: tensor far: external data: found location ../../"):
        reproducer.main(arguments)
    for name in ("no inputs", "output is a sequence", "an IR version of the future", "empty"):
        write_bad_onnx(path, name)
        with refused(f"{path}: "):
            reproducer.main(arguments)
    assert not (tmp_path / "out").exists()


def test_a_model_that_is_right_leaves_no_folder(tmp_path, reproduced):
    run = reproduced(*write_files(tmp_path, "Relu"))
    assert run.code == 0 and "nothing is wrong in OpenCV" in run.text
    assert not (tmp_path / "out").exists()


def test_the_heaps_of_params_yaml_are_used(converted, reproduced, monkeypatch):
    write_params(converted, {"stability.perturb": [7]})
    suspects = []
    monkeypatch.setattr(reproducer, "find_symptom", suspects.append)
    assert reproduced("squeezenet1_1").code == 0
    assert [suspect.perturb for suspect in suspects] == [[7]]


def test_a_fault_of_the_export_is_not_opencvs(converted, reproduced):
    path = converted / "models/squeezenet1_1/model.onnx"
    model = onnx.load(path)
    weight = next(one.name for one in model.graph.initializer if len(one.dims) == 4)
    change_weight(model, weight, lambda value: value * 1.2)
    onnx.save(model, path)
    folder = converted / "reproducers/squeezenet1_1"
    folder.mkdir(parents=True)
    for name in FIXED_FILES:
        (folder / name).write_text("of another day")
    run = reproduced("squeezenet1_1")
    assert run.code == 1
    assert "the exporter's fault, not OpenCV's: rel" in run.text and "make locate" in run.text
    assert "| unchanged" in run.text
    assert "the smallest change that works: exporter dynamo" in run.text
    assert {path.read_text() for path in folder.iterdir()} == {"of another day"}


def test_wrong_arguments_are_refused(tmp_path, converted):
    arguments = [str(one) for one in write_files(tmp_path, "Relu")]
    with refused("expected a MODEL, or both of --model and --input"):
        reproducer.main(arguments[:2])
    with refused("expected a MODEL, or both"):
        reproducer.main(["squeezenet1_1", *arguments])
    with refused("--output: missing"):
        reproducer.main(arguments[:4])
    with refused("--image: has no meaning with a file"):
        reproducer.main([*arguments, "--image", "1"])
    with refused("--limit: found -1"):
        reproducer.main([*arguments, "--limit", "-1"])
    with refused("models.none: no such entry"):
        reproducer.main(["none"])
    shutil.rmtree(converted / "models")
    with refused("models/squeezenet1_1/model.onnx: no such file; `make` writes it"):
        reproducer.main(["squeezenet1_1"])
