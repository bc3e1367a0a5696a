import numpy as np
import pytest
from helpers.faulty import BLOB, network, parse

from parity.backends.contract import BackendFailure
from parity.evaluation.exactness import UNIT_ROUNDOFF
from parity.graphs.tolerance import (
    FACTOR,
    LARGEST,
    Tolerance,
    measured_tolerance,
    own_noise,
    rounding,
)
from parity.graphs.values import all_values


def test_the_noise_is_onnxruntimes_own_error_at_each_tensor():
    values = all_values(network(), {"input": BLOB})
    tolerance = measured_tolerance(network(), values, 1e-4)
    assert tolerance.noise.keys() == {name for name in values if name.endswith("_out")} | {"output"}
    assert all(UNIT_ROUNDOFF <= noise < 1e-5 for noise in tolerance.noise.values())
    assert tolerance.at("output") == FACTOR * tolerance.noise["output"]
    assert tolerance.least <= min(map(tolerance.at, tolerance.noise))


def test_the_noise_of_a_node_is_without_that_of_the_nodes_before_it():
    """A sum that cancels amplifies the rounding before it, and adds hardly any."""
    body = "a = Sin (x) b = Add (a, large) c = Sub (b, large) y = Mul (c, large)"
    model = parse(body, large=np.float32([1000]))
    values = all_values(model, {"x": np.float32([[0.1, 0.2, 0.3]])})
    whole = measured_tolerance(model, values, 1e-4).noise
    own = own_noise(model, values, ["a", "b", "c", "y"])
    assert whole["c"] > 50 * UNIT_ROUNDOFF and whole["y"] > 50 * UNIT_ROUNDOFF
    assert own["c"] == own["y"] == UNIT_ROUNDOFF


def test_a_part_has_the_noise_of_its_own_nodes():
    model = parse("y = Sin (x)")
    blob = np.float32([[1, 2, 3]])
    part = model, {"x": blob}, "y", np.sin(blob)
    assert UNIT_ROUNDOFF <= Tolerance(1e-4, {}).part_noise(*part) < 1e-6
    assert Tolerance(1e-4).part_noise(*part) is None


@pytest.mark.parametrize("exact", [[2.0, 1.0], [np.nan, 1.0], [np.inf, 1.0], [0.0, 0.0]])
def test_an_error_that_no_rounding_explains_is_no_noise(exact):
    assert rounding(np.float32([1, 1]), np.array(exact)) is None


def test_without_a_noise_the_limit_is_fixed_and_chaos_has_the_largest():
    assert Tolerance(1e-4).at("any") == Tolerance(1e-4, {}).at("any") == 1e-4
    assert Tolerance(1e-4, {"a": 5e-3}).at("a") == LARGEST
    assert Tolerance(1e-4, {"a": 1e-6}, factor=4).at("a") == pytest.approx(4e-6)


def test_a_graph_that_the_evaluator_cannot_run_has_no_measured_tolerance():
    model = parse("y = Sin (x)")
    model.graph.node[0].op_type = "NoSuchOperation"
    with pytest.raises(BackendFailure):
        measured_tolerance(model, {"x": BLOB, "y": BLOB}, 1e-4)
