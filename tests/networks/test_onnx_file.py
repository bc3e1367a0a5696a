import os
import random

import pytest
from helpers.bad_onnx_files import CONTENTS, RELU, model_of, value, write_bad_onnx
from helpers.onnx_files import write_tiny_onnx, write_two_outputs
from helpers.params import model_entry
from helpers.refusals import refused

from parity.core.cli import InputError
from parity.networks.onnx_file import choose_output, fixed_batch_size, parse, read_onnx_file

# Valid ONNX, which ONNX Runtime refuses.
FOR_ONNX_RUNTIME = {"an opset of the future"}


@pytest.mark.parametrize("name", [name for name in CONTENTS if name not in FOR_ONNX_RUNTIME])
def test_a_file_that_no_tool_can_use_is_refused_by_name(tmp_path, name):
    path = write_bad_onnx(tmp_path / "a.onnx", name)
    with refused(f"{path}: "):
        read_onnx_file(path)


def test_what_is_no_regular_file_is_refused_and_not_opened(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "device").symlink_to("/dev/zero")
    (tmp_path / "link").symlink_to("nowhere")
    (tmp_path / "to_itself").symlink_to("to_itself")
    for name in ("", "fifo", "device", "link", "to_itself", "nothing", "x" * 300, "a\0b"):
        with refused(InputError(f"{tmp_path / name}: ")):
            parse(tmp_path / name)


def test_a_file_larger_than_onnx_can_be_is_not_read(tmp_path):
    path = tmp_path / "a.onnx"
    with path.open("wb") as file:
        file.truncate(2**40)  # sparse
    with refused(f"{path}: found {2**40} bytes; expected at most {2**31 - 1}"):
        parse(path)


@pytest.mark.parametrize(
    "shape, is_image",
    [
        (("N", 3, "H", "W"), True),
        ((1, 3, 8, 8), True),
        ((None, None, None, None), True),
        (("N", 3), False),
        ((), False),
        ((1, 8, 8, 3), False),
        ((1, 1, 8, 8), False),
        ((1, 3, 4, 8, 8), False),
    ],
)
def test_the_input_is_a_blob_of_images(tmp_path, shape, is_image):
    model = model_of(RELU, inputs=[value("x", shape=shape)], outputs=[value("y", shape=shape)])
    path = tmp_path / "a.onnx"
    path.write_bytes(model.SerializeToString())
    if is_image:
        assert read_onnx_file(path) == model
        assert fixed_batch_size(path, model) == (1 if shape == (1, 3, 8, 8) else None)
    else:
        with refused(f"{path}: found an input (", "expected images, (N, 3, H, W)"):
            read_onnx_file(path)


def damaged(content: bytes) -> list[bytes]:
    """The content cut off at every byte, and with bytes changed at random."""
    dice = random.Random(0)
    found = [content[:length] for length in range(len(content))]
    for _ in range(300):
        changed = bytearray(content)
        for _ in range(dice.choice([1, 1, 2, 8])):
            changed[dice.randrange(len(changed))] = dice.randrange(256)
        found.append(bytes(changed))
    return found


def test_a_damaged_file_is_read_or_refused_in_one_line(tmp_path):
    path = write_tiny_onnx(tmp_path / "a.onnx")
    cases = damaged(path.read_bytes())
    refusals = []
    for content in cases:
        path.write_bytes(content)
        try:
            read_onnx_file(path)
        except InputError as error:
            refusals.append(str(error))
    assert len(cases) / 2 < len(refusals) < len(cases)
    assert all(line.startswith(f"{path}: ") and "\n" not in line for line in refusals)


def two_outputs(tmp_path, **entry: object) -> str:
    path = write_two_outputs(tmp_path / "a.onnx")
    model = model_entry(weights=None, preprocess="imagenet", onnx="a.onnx", **entry)
    return choose_output("bought", model, parse(path))


def test_the_first_of_several_outputs_is_compared_and_named(tmp_path, capsys):
    assert two_outputs(tmp_path) == "0"
    line = (
        "bought: a.onnx has 2 outputs (0, aux); 0 is compared: models.bought.output names another"
    )
    assert capsys.readouterr().err == f"{line}\n"


@pytest.mark.parametrize("entry, chosen", [("aux", "aux"), (1, "aux"), ("0", "0"), (0, "0")])
def test_the_output_can_be_named_or_counted(tmp_path, capsys, entry, chosen):
    assert two_outputs(tmp_path, output=entry) == chosen
    assert not capsys.readouterr().err


@pytest.mark.parametrize("entry", ["logits", 2, "AUX", "1"])
def test_an_output_that_is_not_there_is_refused_with_those_that_are(tmp_path, entry):
    with refused("models.bought.output: found ", "a.onnx has 2 outputs (0, aux)"):
        two_outputs(tmp_path, output=entry)


def test_a_single_output_needs_no_words(tmp_path, capsys):
    path = write_tiny_onnx(tmp_path / "a.onnx")
    model = model_entry(weights=None, preprocess="imagenet", onnx="a.onnx")
    assert choose_output("bought", model, parse(path)) == "0"
    assert not capsys.readouterr().err
