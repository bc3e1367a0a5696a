import json

import numpy as np
import onnx
import pytest
from helpers.bundles import NAMES, OPENCV, tiny_content
from helpers.onnx_files import CRASH, write_tiny_onnx

from parity.backends.contract import BackendFailure
from parity.bundle.device import answer_of, read_usage, settings_flags


def test_the_answer_is_that_of_run_onnx(tmp_path):
    content = tiny_content(tmp_path, images=1)
    (example,) = content.examples
    found = answer_of(content.onnx, example.file, settings_flags(OPENCV))
    np.testing.assert_array_equal(found.blob, example.blob)
    np.testing.assert_allclose(found.output, example.logits, atol=1e-5)
    assert found.flags == content.flags and found.time_ms > 0
    assert "engine auto" in found.text


def test_a_refusal_ends_this_process_with_its_code_and_its_line(tmp_path, capfd):
    content = tiny_content(tmp_path, images=1)
    with pytest.raises(SystemExit) as end:
        answer_of(content.onnx, tmp_path / "missing.png", [])
    assert end.value.code == 2
    assert capfd.readouterr().err.endswith(
        f"error: {tmp_path}/missing.png: no such file or directory\n"
    )


def test_a_crash_is_a_failure_that_names_its_signal(tmp_path):
    image = tiny_content(tmp_path, images=1).examples[0].file
    path = write_tiny_onnx(tmp_path / "crash.onnx", *CRASH)
    with pytest.raises(BackendFailure, match="SIGFPE"):
        answer_of(path, image, ["--task=classification", "--engine=new"])


def test_the_metadata_say_how_a_file_is_used(tmp_path):
    content = tiny_content(tmp_path, images=1)
    usage = read_usage(content.onnx)
    assert (usage.task, usage.preprocess, usage.classes) == (
        "classification",
        content.preprocess,
        NAMES,
    )
    assert usage.exif == "ignore"


@pytest.mark.parametrize("foreign", ["center crop", "[1]", json.dumps("x")])
def test_metadata_of_another_program_say_nothing(tmp_path, foreign):
    path = write_tiny_onnx(tmp_path / "a.onnx")
    model = onnx.load(path)
    onnx.helper.set_model_props(model, {"preprocess": foreign, "classes": foreign})
    onnx.save(model, path)
    usage = read_usage(path)
    assert (usage.task, usage.preprocess) == ("", {})
