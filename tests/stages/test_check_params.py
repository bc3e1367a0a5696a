import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from helpers.bad_onnx_files import CONTENTS, write_bad_onnx
from helpers.onnx_files import add_external_tensor, write_tiny_onnx, write_two_outputs
from helpers.params import write_params
from helpers.refusals import refused

from stages import check_params, export_onnx, weights

OUT = "../" * 30 + "etc/passwd"
# Valid ONNX, which ONNX Runtime refuses.
FOR_ONNX_RUNTIME = {"an opset of the future"}


def use(folder: Path, **entry: object) -> Path:
    """Make the ONNX file of a folder the only model."""
    path = folder / "given.onnx"
    given = {"task": "classification", "preprocess": "imagenet", "onnx": str(path)} | entry
    write_params(folder, {"models": {"given": given}})
    return path


@pytest.mark.parametrize("name", [name for name in CONTENTS if name not in FOR_ONNX_RUNTIME])
def test_an_onnx_file_that_no_stage_can_use_is_refused_by_name(project, name):
    path = write_bad_onnx(use(project), name)
    with refused(f"{path}: "):
        check_params.main([])
    assert not Path("data").exists()


def test_a_pipe_in_place_of_an_onnx_file_is_not_waited_for(project):
    os.mkfifo(path := use(project))
    with refused(f"{path}: found a FIFO; expected a regular file"):
        check_params.main([])


def test_external_data_outside_the_folder_is_refused(project):
    path = add_external_tensor(write_tiny_onnx(use(project)), OUT)
    with refused(f"{path}: tensor far: external data: found location ../../"):
        check_params.main([])


@pytest.mark.parametrize("entry", ["logits", 2])
def test_an_output_that_the_file_lacks_is_refused(project, entry):
    write_two_outputs(use(project, output=entry))
    with refused(f"models.given.output: found {entry!r}; ", "has 2 outputs (0, aux)"):
        check_params.main([])


# The stages that take the file over


@pytest.mark.parametrize("stage", [weights, export_onnx])
def test_no_stage_reads_external_data_outside_the_folder(prepared, stage):
    path = add_external_tensor(write_tiny_onnx(use(prepared)), OUT)
    with refused(f"{path}: tensor far: external data: found location ../../"):
        stage.main(["given"])
    assert not [file for file in Path("models").rglob("*") if file.is_file()]


def test_external_data_becomes_part_of_the_exported_file(prepared):
    path = add_external_tensor(write_tiny_onnx(use(prepared)), "data/far.bin")
    content = np.arange(4, dtype=np.float32)
    (prepared / "data/far.bin").write_bytes(content.tobytes())
    weights.main(["given"])
    assert str(path.parent / "data/far.bin") in Path("models/given/source.json").read_text()
    export_onnx.main(["given"])
    exported = onnx.load("models/given/model.onnx", load_external_data=False)
    (far,) = (tensor for tensor in exported.graph.initializer if tensor.name == "far")
    assert not far.external_data and np.array_equal(onnx.numpy_helper.to_array(far), content)


@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize("entry, chosen", [(None, None), ("aux", "aux"), ("0", "0")])
def test_the_exported_file_has_the_one_output_that_is_compared(
    prepared, capsys, swapped, entry, chosen
):
    write_two_outputs(use(prepared, **({"output": entry} if entry else {})), swapped=swapped)
    export_onnx.main(["given"])
    names = [value.name for value in onnx.load("models/given/model.onnx").graph.output]
    assert names == [chosen or ("aux" if swapped else "0")]
    assert (f"; {names[0]} is compared: models.given.output" in capsys.readouterr().err) != bool(
        entry
    )
