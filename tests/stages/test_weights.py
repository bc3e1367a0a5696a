import json
from pathlib import Path

import pytest
import torch
from helpers.checkout import stage_process
from helpers.params import model_entry, write_params
from helpers.refusals import refused

from parity.networks.network import build, load_network
from stages import weights

pytestmark = pytest.mark.process

NAME = "squeezenet1_1"
PATH = Path("models") / NAME / "weights.pth"


def write_weights(project: Path, value: str) -> None:
    write_params(project, {f"models.{NAME}.weights": value})
    weights.main([NAME])


def test_the_written_state_dict_loads_into_the_network(prepared):
    write_weights(prepared, "probe")
    network = load_network(PATH, NAME, model_entry(), 10)
    with torch.inference_mode():
        assert network(torch.zeros(1, 3, 64, 64)).shape == (1, 10)


def test_two_runs_write_the_same_bytes(prepared):
    write_weights(prepared, "probe")
    before = PATH.read_bytes()
    write_weights(prepared, "probe")
    assert PATH.read_bytes() == before


def test_wrong_weights_leave_the_earlier_file(prepared):
    write_weights(prepared, "random")
    before = PATH.read_bytes()
    Path("mine.pth").write_text("no checkpoint")
    with refused("mine.pth: not a PyTorch checkpoint"):
        write_weights(prepared, "mine.pth")
    assert PATH.read_bytes() == before
    assert sorted(path.name for path in PATH.parent.iterdir()) == ["source.json", "weights.pth"]


@pytest.mark.parametrize("value", ["random", "mine.pth"])
def test_only_published_weights_have_a_published_accuracy(prepared, value):
    torch.save(build(NAME, model_entry(), 10).state_dict(), "mine.pth")
    write_weights(prepared, value)
    source = json.loads((PATH.parent / "source.json").read_text())
    assert source["published"] is None
    assert list(source["files"]) == (["mine.pth"] if value == "mine.pth" else [])


@pytest.mark.parametrize("value", ["random", "IMAGENET1K_V1"])
def test_an_unknown_model_ends_with_code_2_and_one_line(prepared, value):
    entry = {"task": "classification", "preprocess": "imagenet", "weights": value}
    write_params(prepared, {"models.resnet5O": entry})
    process = stage_process("weights", "resnet5O", cwd=prepared)
    out, err = process.communicate()
    assert (process.returncode, out) == (2, "")
    assert err == (
        "error: params.yaml: models.resnet5O: torchvision has no classification model of this "
        "name; did you mean resnet50?\n"
    )
