import pytest
import torch
from helpers.params import model_entry
from torch import nn

from parity.networks.network import Logits, build
from parity.networks.probe import seeded
from parity.networks.random_weights import MAX_AMPLIFICATION, draw_head, spread_logits

pytestmark = pytest.mark.process

CLASSES = 4


def blobs(count: int, side: int = 32, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(seed))


def logits_of(network: nn.Module, blob: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return network.eval()(blob)


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "convnext_tiny"])
def test_each_class_gets_logits_of_mean_0_and_deviation_1(name):
    seeded(0, name)
    network = build(name, model_entry(), CLASSES)
    blob = blobs(8, side=64)
    spread_logits(network, [blob], CLASSES, 0.25)
    logits = logits_of(network, blob)
    assert logits.mean(dim=0).abs().max() < 1e-4
    deviation = logits.std(dim=0)
    assert deviation.max() < 1.001 and deviation.min() > 0.05


def test_a_segmentation_gets_logits_of_mean_0_and_deviation_1_over_its_pixels():
    name = "lraspp_mobilenet_v3_large"
    seeded(0, name)
    network = Logits(build(name, model_entry("segmentation"), CLASSES))
    spread_logits(network, [blobs(2, side=64)], CLASSES, 0.25)
    logits = logits_of(network, blobs(2, side=64))
    assert logits.std(dim=(0, 2, 3)).min() > 0.1


def test_batch_norms_take_the_statistics_of_all_blobs():
    network = nn.Sequential(nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(48, CLASSES))
    spread_logits(network, [torch.full((2, 3, 4, 4), x) for x in (1.0, 2.0, 6.0)], CLASSES, 0.25)
    torch.testing.assert_close(network[0].running_mean, torch.full((3,), 3.0))


def test_features_that_hardly_differ_are_amplified_up_to_a_limit():
    head = nn.Linear(3, CLASSES)
    features = 1 + 1e-6 * torch.randn(8, 3, generator=torch.Generator().manual_seed(0))
    draw_head(head, head, features)
    size = (features @ head.weight.detach().T).square().mean(dim=0).sqrt()
    torch.testing.assert_close(size, torch.full((CLASSES,), float(MAX_AMPLIFICATION)))


@pytest.mark.parametrize(
    "network",
    [
        nn.Sequential(nn.Flatten(2), nn.Linear(16, CLASSES)),  # classes on the last axis
        nn.Sequential(nn.ConvTranspose2d(3, CLASSES, 3)),
        nn.Sequential(nn.Identity()),
    ],
    ids=["linear on tokens", "transposed", "no head"],
)
def test_networks_of_other_shapes_stay_finite(network):
    spread_logits(network, [blobs(4, side=4)], CLASSES, 0.25)
    assert logits_of(network, blobs(4, side=4)).isfinite().all()


def test_dead_features_give_finite_logits():
    network = nn.Sequential(nn.Flatten(), nn.Linear(12, CLASSES))
    spread_logits(network, [torch.zeros(4, 3, 2, 2)], CLASSES, 0.25)
    assert all(value.isfinite().all() for value in network.state_dict().values())
