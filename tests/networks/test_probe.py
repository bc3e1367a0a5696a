import numpy as np
import pytest
import torch
from helpers.params import model_entry
from torch import nn
from torchvision.models.resnet import BasicBlock, Bottleneck

from parity.networks.network import Logits, build
from parity.networks.probe import TARGET_OFF, TARGET_ON, calibrate, damp_residuals, fit_head, seeded

CLASSES = 4


def blobs(count: int, side: int = 32, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(seed))


def coloured(count: int, side: int = 32) -> tuple[torch.Tensor, torch.Tensor]:
    """Blobs of noise around one of four colours, and the colour of each as its class."""
    labels = torch.arange(count) % CLASSES
    colours = torch.tensor([[3.0, 0, 0], [0, 3, 0], [0, 0, 3], [3, 3, 3]])
    return 0.3 * blobs(count, side) + colours[labels][:, :, None, None], labels


def linear_network() -> nn.Sequential:
    """Features are the blob's values; the head is linear."""
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 2 * 2, CLASSES))


def ridge_by_lstsq(x: np.ndarray, labels: np.ndarray, ridge: float) -> tuple:
    """Ridge regression of centred features as least squares with extra rows."""
    y = np.where(np.arange(CLASSES) == labels[:, None], TARGET_ON, TARGET_OFF)
    centred = x - x.mean(axis=0)
    penalty = ridge * (centred**2).mean() * len(x)
    rows = np.concatenate([centred, np.sqrt(penalty) * np.eye(x.shape[1])])
    targets = np.concatenate([y - y.mean(axis=0), np.zeros((x.shape[1], CLASSES))])
    weight = np.linalg.lstsq(rows, targets, rcond=None)[0]
    return weight.T, y.mean(axis=0) - x.mean(axis=0) @ weight


@pytest.mark.parametrize("ridge", [1e-3, 1.0])
@pytest.mark.parametrize("batch", [5, 30])
def test_the_head_is_the_ridge_regression_of_its_features(ridge, batch):
    blob, labels = blobs(30, side=2) + 1, torch.arange(30) % CLASSES
    network = linear_network()
    batches = zip(blob.split(batch), labels.split(batch), strict=True)
    fit_head(network, batches, CLASSES, ridge)
    weight, bias = ridge_by_lstsq(blob.flatten(1).double().numpy(), labels.numpy(), ridge)
    np.testing.assert_allclose(network[1].weight.detach(), weight, atol=1e-4)
    np.testing.assert_allclose(network[1].bias.detach(), bias, atol=1e-4)


def test_a_segmentation_head_is_fitted_to_all_pixels_except_ignored_ones():
    labels = torch.arange(2 * 6 * 6).reshape(2, 6, 6) % CLASSES
    blob = blobs(2, side=6)
    truth = labels.clone()
    truth[:, :2] = 255
    network = nn.Sequential(nn.Conv2d(3, CLASSES, 1))
    fit_head(network, [(blob, truth.to(torch.uint8))], CLASSES, 1e-3)
    x = blob[:, :, 2:].permute(0, 2, 3, 1).reshape(-1, 3).double().numpy()
    weight, bias = ridge_by_lstsq(x, labels[:, 2:].flatten().numpy(), 1e-3)
    np.testing.assert_allclose(network[0].weight.detach()[:, :, 0, 0], weight, atol=1e-4)
    np.testing.assert_allclose(network[0].bias.detach(), bias, atol=1e-4)


@pytest.mark.parametrize("name", ["squeezenet1_1", "resnet18", "mobilenet_v3_small"])
def test_a_fitted_network_separates_the_images_it_was_fitted_to(name):
    blob, labels = coloured(24, side=64)
    seeded(0, name)
    network = build(name, model_entry(), CLASSES)
    calibrate(network, [blob])
    fit_head(network, [(blob[:12], labels[:12]), (blob[12:], labels[12:])], CLASSES, 1e-3)
    with torch.inference_mode():
        assert (network(blob).argmax(dim=1) == labels).all()


def test_dropout_hides_no_feature_from_the_fit():
    blob, labels = blobs(30, side=2), torch.arange(30) % CLASSES
    plain, dropping = linear_network(), nn.Sequential(nn.Dropout(0.9), *linear_network())
    for network in (plain, dropping):
        network.train()
        fit_head(network, [(blob, labels)], CLASSES, 1e-3)
    torch.testing.assert_close(plain[-1].weight, dropping[-1].weight)


def test_a_fitted_segmentation_finds_halves_of_two_colours():
    name = "lraspp_mobilenet_v3_large"
    blob, target = 0.1 * blobs(2, side=64), torch.zeros(2, 64, 64, dtype=torch.uint8)
    blob[:, 0, :, 32:] += 3
    target[:, :, 32:] = 1
    seeded(0, name)
    network = Logits(build(name, model_entry("segmentation"), 2)).eval()
    calibrate(network, [blob])
    fit_head(network, [(blob, target)], 2, 1e-3)
    with torch.inference_mode():
        agreement = (network(blob).argmax(dim=1) == target).float().mean()
    assert agreement > 0.9


def test_calibrated_batch_norms_give_zero_mean_and_unit_variance():
    torch.manual_seed(0)
    network = nn.Sequential(
        *(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU()),
        *(nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8)),
    )
    blob = 5 * blobs(8) + 7
    calibrate(network, [blob])
    assert not any(layer.training for layer in network.modules())
    with torch.inference_mode():
        for end in (2, 5):
            output = network[:end](blob)
            assert output.mean(dim=(0, 2, 3)).abs().max() < 1e-3
            assert (output.var(dim=(0, 2, 3)) - 1).abs().max() < 1e-2


def test_calibration_averages_the_batches_and_forgets_earlier_statistics():
    network = nn.Sequential(nn.BatchNorm2d(3))
    network[0].running_mean.fill_(99)
    calibrate(network, [torch.full((2, 3, 4, 4), value) for value in (1.0, 2.0, 6.0)])
    torch.testing.assert_close(network[0].running_mean, torch.full((3,), 3.0))
    assert network[0].momentum == 0.1


def test_dropout_stays_off_while_calibrating():
    network = nn.Sequential(nn.Dropout(0.9), nn.BatchNorm2d(3))
    calibrate(network, [torch.ones(2, 3, 4, 4)])
    torch.testing.assert_close(network[1].running_mean, torch.ones(3))


def test_a_network_without_batch_norm_needs_no_calibration():
    def never():
        pytest.fail("no image need be read")
        yield

    calibrate(build("squeezenet1_1", model_entry(), CLASSES), never())


@pytest.mark.parametrize(("name", "block"), [("resnet18", BasicBlock), ("resnet50", Bottleneck)])
def test_residual_branches_are_damped(name, block):
    network = build(name, model_entry(), CLASSES)
    damp_residuals(network, 0.25)
    last = "bn2" if block is BasicBlock else "bn3"
    blocks = [module for module in network.modules() if isinstance(module, block)]
    assert blocks and all((getattr(one, last).weight == 0.25).all() for one in blocks)
    assert (network.bn1.weight == 1).all()


def test_equal_seeds_and_names_draw_equal_weights_and_others_draw_others():
    drawn = {}
    for key in ((0, "a"), (1, "a"), (0, "b"), (0, "a", "b"), (0, "a")):
        seeded(*key)
        values = torch.rand(4).tolist()
        assert drawn.setdefault(key, values) == values
    assert len({tuple(values) for values in drawn.values()}) == 4
