import numpy as np
from helpers.faulty import BLOB, change_weight, network, node_of, set_attribute

from parity.backends.onnxruntime import run_onnxruntime
from parity.graphs.forcing import forced
from parity.graphs.graph import float_tensors, input_names, producers
from parity.graphs.values import all_values


def test_an_error_shows_only_where_it_arises():
    values = all_values(network(), {"input": BLOB})
    candidate = network()
    set_attribute(candidate, "bn", epsilon=1e-2)
    change_weight(candidate, "gemm1_w", lambda weight: 1.1 * weight)
    names = list(float_tensors(candidate, values))
    part, own = forced(candidate, {name: values[name] for name in names}, names)
    found = run_onnxruntime(part, values, list(own.values()))
    different = [name for name in names if not np.array_equal(found[own[name]], values[name])]
    assert different == ["bn_out", "gemm1_out"]


def test_what_is_not_fed_is_computed_and_what_is_not_needed_is_left_out():
    values = all_values(network(), {"input": BLOB})
    part, own = forced(network(), {"add_out": values["add_out"]}, ["add_out", "resize_out"])
    assert own == {"add_out": "add_out#own", "resize_out": "resize_out"}
    assert set(input_names(part)) == {"input", "add_out"}
    assert "conv2_out" in producers(part) and "conv3_out" not in producers(part)
    assert node_of(part, "add").output == ["add_out#own"]
