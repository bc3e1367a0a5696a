import pytest

from parity.operators.reasons import LONGEST, is_not_taken, reason_of

PREFIX = "OpenCV cannot read it: OpenCV(5.0.0) /io/dnn/src/onnx/onnx_importer.cpp:1114: error: "
OUTER = f"{PREFIX}(-2:Unspecified error) in function 'handleNode' > Node [A@ai.onnx]:(x) parse "
INNER = "error: OpenCV(5.0.0) /io/dnn/src/layers/{} > "


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (
            OUTER
            + INNER.format(
                'net_impl.hpp:187: error: (-2:x) Can\'t create layer "o!n" of'
                " type \"Col2Im\" in function 'f'"
            ),
            "no layer for Col2Im",
        ),
        ("its network is empty\nUnsupported operations:\n\tRNN\n", "no layer for RNN"),
        (
            OUTER
            + INNER.format(
                "a.cpp:1: error: (-5:Bad argument) Blob W not found in const"
                " blobs in function 'getBlob'"
            ),
            "an input must be a constant of the file",
        ),
        (
            OUTER
            + INNER.format("a_layer.cpp:9: error: (-215:Assertion failed) n >= 2 in function 'g'"),
            "assertion in a_layer.cpp: n >= 2",
        ),
        (
            OUTER
            + INNER.format(
                "b.cpp:3: error: (-2:Unspecified error) in function 'void f(int)'"
                " > > Only one axis: > > 'axes == 1' must be 'true'"
            ),
            "b.cpp: Only one axis: 'axes == 1' must be 'true'",
        ),
        ("the process was ended by SIGSEGV", "the process was ended by SIGSEGV"),
    ],
)
def test_a_message_becomes_a_reason_without_names_of_tensors(message, reason):
    assert reason_of(message) == reason


def test_a_reason_is_short():
    assert len(reason_of("word " * 100)) == LONGEST


def test_a_type_that_the_binding_does_not_take_is_no_fault_of_a_layer():
    message = "Overload resolution failed: > - blob data type = bfloat16 is not supported"
    assert is_not_taken(message) and reason_of(message) == "OpenCV's binding takes no bfloat16"
    assert not is_not_taken("anything else")
