import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from helpers.bad_onnx_files import CONTENTS, write_bad_onnx
from helpers.checkout import stage_process
from helpers.commands import Run, run_main
from helpers.faulty import BLOB, FAULTS, network
from helpers.onnx_files import add_external_tensor, write_tiny_onnx
from helpers.refusals import refused

from tools import locate, reproducer, workaround

MODEL = "squeezenet1_1"
# Operators of other domains, which ONNX Runtime has.
RUN_BY_ENGINES = {"another domain only", "classic machine learning only"}
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def locating(tmp_path, monkeypatch, capsys):
    """Run the command in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def call(*args: object) -> Run:
        return run_main(locate.main, args, capsys)

    return call


def write_files(folder: Path, fault: str | None = None) -> list[object]:
    """Write the network, the network with a fault, and a blob; returns the arguments."""
    candidate = network()
    if fault:
        FAULTS[fault][0](candidate)
    onnx.save(network(), folder / "good.onnx")
    onnx.save(candidate, folder / "bad.onnx")
    np.save(folder / "blob.npy", BLOB)
    names = {"reference": "good.onnx", "candidate": "bad.onnx", "input": "blob.npy"}
    return [part for key, name in names.items() for part in (f"--{key}", folder / name)]


@pytest.mark.process
def test_where_nothing_differs_the_exit_code_is_0_and_the_node_null(locating, tmp_path):
    run = locating(*write_files(tmp_path))
    assert run.code == 0 and run.result == {"node": None}
    assert not (tmp_path / "plots").exists()


def test_a_fault_is_printed_for_a_person_and_a_script_and_drawn(locating, tmp_path):
    run = locating(*write_files(tmp_path, "average pool that counts its padding"))
    assert run.code == 1
    assert "first difference: pool (AveragePool)\n" in run.text
    assert "  inputs      clip_out (1, 8, 16, 16)\n" in run.text
    assert "count_include_pad=0, kernel_shape=[3, 3]" in run.text
    assert "note: in the candidate: count_include_pad=1\n" in run.text
    assert run.text.count("shape (1, 8, 16, 16), min 0, max ") == 2
    assert "owner       export\n" in run.text
    assert (run.result["node"], run.result["op_type"]) == ("pool", "AveragePool")
    assert (run.result["owner"], run.result["confirmed"]) == ("export", True)
    assert run.result["rel"] > run.result["limit"] and run.result["limit"] < 1e-5
    assert run.result["exactness"] > 1000
    assert (tmp_path / "plots/locate/bad.png").read_bytes().startswith(PNG)
    written = json.loads((tmp_path / "plots/locate/bad.json").read_text())
    assert written["fault"] == run.result
    worst = max(written["points"], key=lambda point: (point["rel"] or 0) / point["limit"])
    assert worst["rel"] > worst["limit"] and worst["op_type"]


def test_an_infinite_rel_is_null(locating, tmp_path):
    run = locating(*write_files(tmp_path, "transposed Gemm that does not fit"))
    assert (run.result["node"], run.result["rel"]) == ("output", None)
    assert run.result["kind"] in ("refused", "error")


@pytest.mark.process
def test_options_reach_the_search(locating, tmp_path):
    arguments = write_files(tmp_path, "perturbed weight")
    assert locating(*arguments, "--limit", "0.9", "--engine", "classic").code == 0
    assert locating(*arguments, "--limit", "1e-3").result["limit"] == 1e-3


def test_a_picture_that_cannot_be_written_does_not_hide_the_result(locating, tmp_path):
    (tmp_path / "plots").write_text("no folder")
    run = locating(*write_files(tmp_path, "perturbed weight"))
    assert run.code == 1 and run.result["node"] == "conv3"


@pytest.mark.process
def test_a_model_of_params_yaml_is_searched_on_the_image_that_is_named(
    converted, locating, monkeypatch
):
    monkeypatch.chdir(converted)
    run = locating(MODEL, "--image", 7)
    assert run.code == 0 and run.result == {"node": None}
    assert "on image 7 (" in run.text


def test_wrong_arguments_are_refused_in_one_line(locating, tmp_path):
    arguments = write_files(tmp_path)
    with refused("no.onnx: no such file"):
        locating("--reference", "no.onnx", *arguments[2:])
    with refused("no.npy: no such file"):
        locating(*arguments[:4], "--input", "no.npy")
    (tmp_path / "text").write_text("not a model")
    with refused("text: not a valid ONNX file"):
        locating("--candidate", "text", *arguments[:2], *arguments[4:])
    with refused("--limit: found -1; expected a number above 0"):
        locating(*arguments, "--limit", "-1")
    with refused("--image: has no meaning with two files"):
        locating(*arguments, "--image", "1")
    for wrong in ([], ["resnet50", *arguments], arguments[:4]):
        with refused("expected a MODEL, or all of --reference, --candidate and --input"):
            locating(*wrong)


@pytest.mark.parametrize("which", ["--reference", "--candidate"])
def test_external_data_outside_the_folder_is_refused(locating, tmp_path, which):
    arguments = write_files(tmp_path)
    path = arguments[arguments.index(which) + 1]
    add_external_tensor(path, "../" * 30 + "etc/passwd")
    with refused(f"{path}: tensor far: external data: found location ../../"):
        locating(*arguments)


@pytest.mark.parametrize("name", [name for name in CONTENTS if name not in RUN_BY_ENGINES])
def test_a_file_that_no_engine_can_run_is_refused_by_name(locating, tmp_path, name):
    path = write_bad_onnx(tmp_path / "a.onnx", name)
    np.save(tmp_path / "blob.npy", np.ones((1, 3, 8, 8), np.float32))
    with refused(f"{path}: "):
        locating("--reference", path, "--candidate", path, "--input", tmp_path / "blob.npy")


@pytest.mark.parametrize("tool", [locate, workaround, reproducer])
def test_a_models_file_that_was_exchanged_keeps_its_data_inside(prepared, tool):
    path = Path(f"models/{MODEL}/model.onnx")
    path.parent.mkdir(parents=True)
    add_external_tensor(write_tiny_onnx(path), "../" * 30 + "etc/passwd")
    with refused(f"{path}: tensor far: external data: found location ../../"):
        tool.main([MODEL])


def test_a_missing_model_or_image_is_named(prepared, locating, monkeypatch):
    monkeypatch.chdir(prepared)
    with refused("models.resnet: no such entry"):
        locating("resnet")
    with refused(f"models/{MODEL}/model.onnx: no such file"):
        locating(MODEL)
    Path(f"models/{MODEL}").mkdir(parents=True)
    onnx.save(network(), f"models/{MODEL}/model.onnx")
    with refused("--image: found 10", "images 0 to 9"):
        locating(MODEL, "--image", 10)


@pytest.mark.process
def test_the_process_ends_with_the_exit_code(tmp_path):
    arguments = write_files(tmp_path)
    for args, code in ((["--reference", "no.onnx", *arguments[2:]], 2), (arguments, 0)):
        process = stage_process("locate", *map(str, args), cwd=tmp_path)
        out, error = process.communicate()
        assert process.returncode == code, error
        assert code == 2 or out.splitlines()[-1] == '{"node": null}'
        assert code == 0 or error == "error: no.onnx: no such file\n"
