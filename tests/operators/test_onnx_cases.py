"""ONNX's tests take seconds to collect: they are collected once for all tests here."""

import numpy as np
import pytest

from parity.operators.onnx_cases import onnx_cases


@pytest.fixture(scope="module")
def cases():
    return {case.name: case for case in onnx_cases()}


def test_all_of_the_packages_tests_are_cases(cases):
    folders = {name.split("/")[0] for name in cases}
    assert folders == {"onnx", "simple", "light", "pytorch-operator", "pytorch-converted"}
    assert len(cases) > 2000


@pytest.mark.parametrize(
    ("name", "operator"),
    [
        ("onnx/test_add", "Add"),
        ("onnx/test_softmax_example_expanded_ver18", "Softmax (expanded)"),
        ("pytorch-operator/test_operator_addconstant", "Add"),
        ("pytorch-converted/test_GLU", "GLU"),
        ("light/test_resnet50", "light_resnet50"),
        ("simple/test_sequence_model1", "sequence_model1"),
    ],
)
def test_a_case_counts_for_its_operator_or_pattern(cases, name, operator):
    assert cases[name].operator == operator


def test_inputs_and_outputs_are_those_of_the_test(cases):
    case = cases["onnx/test_add"]
    (feeds,), (outputs,) = case.inputs, case.expected
    np.testing.assert_array_equal(outputs[0], feeds["x"] + feeds["y"])
    case = cases["pytorch-converted/test_Conv2d"]
    assert case.inputs[0].keys() == {"0"} and len(case.expected[0]) == 1


def test_the_image_of_a_light_network_is_the_one_that_its_output_belongs_to(cases):
    (feeds,) = cases["light/test_squeezenet"].inputs
    (image,) = feeds.values()
    assert image.shape == (1, 3, 224, 224) and image.flat[1] == np.float32(1 / image.size)
