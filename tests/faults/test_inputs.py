from math import nan
from pathlib import Path

import numpy as np
import onnx
import pytest
from helpers.faulty import BLOB, network, parse
from helpers.refusals import refused

from parity.core.params import load_params
from parity.faults.inputs import feeds_of, read_blob, real_blob
from stages import infer_onnxruntime, infer_opencv

MODEL = "squeezenet1_1"
PATH = Path("any.onnx")


def test_a_blob_of_another_type_is_converted_and_logged(tmp_path, capsys):
    np.save(tmp_path / "blob.npy", BLOB.astype(np.float64))
    blob = read_blob(tmp_path / "blob.npy")
    assert "blob.npy: found float64; converted to float32\n" in capsys.readouterr().err
    assert blob.dtype == np.float32 and (blob == BLOB).all()


@pytest.mark.parametrize(
    ("blob", "message"),
    [
        (np.array(["a"]), "found <U1; expected float32"),
        (np.where(BLOB > 3, nan, BLOB), "found NaN or infinity in "),
        (BLOB.astype(np.float64) * 1e300, "found NaN or infinity in 768 of 768 values"),
        (BLOB[:0], "found shape (0, 3, 16, 16), which is empty"),
        (np.array([{}]), "not an .npy file"),
    ],
)
def test_an_array_without_finite_numbers_is_refused_by_name(tmp_path, blob, message):
    path = tmp_path / "blob.npy"
    np.save(path, blob, allow_pickle=True)
    with refused(f"{path}: {message}"):
        read_blob(path)


def test_what_is_not_an_npy_file_is_refused_by_name(tmp_path):
    (tmp_path / "text").write_text("no array")
    np.savez(tmp_path / "two.npz", BLOB)
    for name, message in (
        ("missing.npy", "no such file"),
        ("text", "not an .npy file"),
        (".", "not an .npy file"),
        ("two.npz", "found an .npz file"),
    ):
        with refused(f"{tmp_path / name}: {message}"):
            read_blob(tmp_path / name)


def test_the_blob_gets_the_name_of_the_input():
    assert feeds_of(PATH, network(), BLOB, "blob.npy")["input"] is BLOB


@pytest.mark.parametrize("shape", [(1, 3, 16, 17), (3,)])
def test_a_blob_that_does_not_fit_is_refused_with_both_shapes(shape):
    blob = np.zeros(shape, np.float32)
    with refused(f"blob.npy: found shape {shape}; any.onnx expects (any, 3, 16, 16)"):
        feeds_of(PATH, network(), blob, "blob.npy")


def test_an_input_of_another_type_is_refused():
    model = network()
    model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.INT64
    with refused("any.onnx: found input input of type int64; expected float (32 bit)"):
        feeds_of(PATH, model, BLOB, "blob.npy")


def test_a_model_of_several_inputs_is_refused():
    model = network()
    model.graph.input.append(onnx.helper.make_tensor_value_info("other", 1, [1]))
    with refused("any.onnx: found 2 inputs: input, other; expected one"):
        feeds_of(PATH, model, BLOB, "blob.npy")


def test_a_model_whose_outputs_are_constant_is_refused():
    constant = parse("y = Identity (w)", outputs="float[3] y", w=np.ones(3, np.float32))
    with refused("any.onnx: no output depends on the input"):
        feeds_of(PATH, constant, np.ones((1, 3), np.float32), "blob.npy")


def test_the_blob_is_the_image_that_differs_most_in_the_stored_predictions(converted):
    entry = load_params().models[MODEL]
    assert real_blob(MODEL, entry, None)[1].startswith("image 0 (")
    infer_onnxruntime.main([MODEL])
    infer_opencv.main([MODEL])
    path = Path(f"data/predictions/{MODEL}/opencv/logits.npy")
    logits = np.load(path)
    logits[3] += 1
    np.save(path, logits)
    blob, description = real_blob(MODEL, entry, None)
    assert description.startswith("image 3 (")
    assert description.endswith(", where the stored predictions differ most")
    logits[5] = nan
    np.save(path, logits)
    assert real_blob(MODEL, entry, None)[1].startswith("image 5 (")
    seventh, description = real_blob(MODEL, entry, 7)
    assert description.startswith("image 7 (") and description.endswith(")")
    assert blob.shape == seventh.shape == (1, 3, 64, 64) and not np.array_equal(blob, seventh)
    with refused(f"--image: found 10; {MODEL} has images 0 to 9"):
        real_blob(MODEL, entry, 10)
