import numpy as np
import pytest
import torch
from torch import nn

from parity.core.params import load_params
from parity.coverage.cells import METHOD
from parity.coverage.synthetic_images import patterns, spread
from parity.coverage.zoo import million_parameters, vary_constants, zoo_models, zoo_network
from parity.evaluation.scores import relative_difference
from parity.networks.network import Logits

pytestmark = pytest.mark.process

LIMIT = 1e-4  # of rel, as in params.yaml
SMALL = ("squeezenet1_1", "classification", (64, 64))
FIGURES_OF_METHOD_3 = [1.05657, 0.855733, 0.39349, 0.260459, 0.409885]


@pytest.fixture
def one_thread():
    """Small layers on several threads wait for one another when the machine is busy."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("name", "task"),
    [
        ("squeezenet1_1", "classification"),
        ("efficientnet_b0", "classification"),
        ("googlenet", "classification"),
        ("convnext_tiny", "classification"),
        ("swin_t", "classification"),
        ("lraspp_mobilenet_v3_large", "segmentation"),
    ],
)
@pytest.mark.usefixtures("one_thread")
def test_logits_have_a_normal_size_and_depend_on_the_image_and_on_the_layers(project, name, task):
    network = zoo_network(name, task, (96, 96), load_params())
    blob = torch.from_numpy(patterns(3, 96, 96, seed=0))
    logits = Logits(network).eval()
    with torch.inference_mode():
        right = logits(blob).numpy()
        assert 0.1 < np.abs(right).max() < 100
        assert spread(right) > 100 * LIMIT
        # A layer with a handful of weights, as in squeeze-and-excitation, may have no effect.
        layers = [
            (layer_name, layer)
            for layer_name, layer in network.named_modules()
            if isinstance(layer, nn.Conv2d | nn.Linear) and layer.weight.numel() > 64
        ]
        for layer_name, layer in layers[:: len(layers) // 8]:
            layer.weight.neg_()
            assert relative_difference(logits(blob).numpy(), right) > LIMIT, layer_name
            layer.weight.neg_()


def test_no_two_parameters_are_alike():
    """TorchScript writes equal ones once, which shows faults that trained weights do not have."""
    layers = [nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8), nn.GroupNorm(2, 8), nn.Conv2d(8, 8, 1)]
    network = nn.Sequential(*layers)
    for layer in (layers[0], layers[3]):
        nn.init.normal_(layer.bias, std=1e-6)
    drawn = layers[0].weight.clone()
    vary_constants(network)
    vectors = [parameter for parameter in network.parameters() if parameter.ndim == 1]
    assert len(torch.stack(vectors).round(decimals=3).unique(dim=0)) == len(vectors) == 6
    assert all(0.02 < vector.std() < 0.3 for vector in vectors)
    assert torch.equal(layers[0].weight, drawn)
    assert layers[1].weight.mean() > 0.7


def test_the_weights_are_the_same_each_time(project):
    first, second = (zoo_network(*SMALL, load_params()).state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_another_method_has_another_number(project):
    """Where this fails, cells measured before mean something else: increment METHOD."""
    blob = patterns(2, 64, 64, seed=0)
    logits = Logits(zoo_network(*SMALL, load_params())).eval()
    with torch.inference_mode():
        outputs = logits(torch.from_numpy(blob)).numpy()
    figures = [blob.std(), blob[1, 2, 10, 20], *outputs[0, :3]]
    assert METHOD == 3 and figures == pytest.approx(FIGURES_OF_METHOD_3, rel=1e-3)


def test_torchvisions_models_are_bounded_by_their_size():
    every, small = zoo_models(float("inf")), zoo_models(5)
    assert every["vit_h_14"] == "classification" and every["fcn_resnet101"] == "segmentation"
    assert set(small) < set(every) and "squeezenet1_1" in small and "vit_h_14" not in small
    assert million_parameters("resnet50") == pytest.approx(25.56, abs=0.01)
