import numpy as np
import pytest
from helpers.params import write_params

from parity.core.params import load_params
from parity.coverage.groups import read_groups
from parity.coverage.reference import ZooModel, make_exact, make_reference

pytestmark = pytest.mark.process


@pytest.mark.parametrize(
    ("name", "task"),
    [("squeezenet1_1", "classification"), ("lraspp_mobilenet_v3_large", "segmentation")],
)
def test_the_exact_outputs_are_those_of_the_same_weights_and_images(project, name, task):
    write_params(project, {f"coverage.sizes.{task}": ["64x64"]})
    params = load_params()
    model = ZooModel(name, task, project)
    make_reference(model, params)
    (group, _) = read_groups(model, params, with_exact=False)
    assert group.exact is None
    distance = make_exact(model, params)
    (group, batched) = read_groups(model, params, with_exact=True)
    assert group.exact.dtype == np.float64 and group.exact.shape == group.reference.shape
    assert np.array_equal(group.exact, batched.exact)
    assert 1e-9 < distance["rms"] < 1e-5 and 1e-9 < distance["rel"] < 1e-5
    assert np.abs(group.reference - group.exact).max() < 1e-4 * np.abs(group.exact).max()
    assert distance["seconds"] > 0
