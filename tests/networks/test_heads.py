import pytest
import torch
from helpers.params import model_entry
from torch import nn

from parity.networks.heads import NoHead, find_heads, find_linear_heads
from parity.networks.network import build


@pytest.mark.parametrize("classes", [10, 64, 512, 1000])
def test_the_head_of_squeezenet_is_its_last_convolution(classes):
    network = build("squeezenet1_1", model_entry(), classes).eval()
    (head,) = find_heads(network, classes, torch.zeros(1, 3, 64, 64))
    assert head is network.classifier[1]


@pytest.mark.parametrize(
    ("name", "head"), [("resnet18", "fc"), ("mobilenet_v3_small", "classifier.3")]
)
def test_the_head_is_the_last_linear_layer(name, head):
    network = build(name, model_entry(), 10).eval()
    assert find_heads(network, 10, torch.zeros(1, 3, 64, 64)) == [network.get_submodule(head)]


@pytest.mark.parametrize("classes", [8, 40])
def test_lraspp_adds_two_heads(classes):
    network = build("lraspp_mobilenet_v3_large", model_entry("segmentation"), classes).eval()
    found = find_heads(network, classes, torch.zeros(1, 3, 64, 64))
    assert found == [network.classifier.low_classifier, network.classifier.high_classifier]


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (nn.Identity(), "no layer of the network has 5 outputs"),
        (nn.Conv2d(3, 5, 3), "is Conv2d(3, 5, kernel_size=(3, 3)"),
        (nn.ConvTranspose2d(3, 5, 1), "is ConvTranspose2d("),
        (nn.Sequential(nn.Conv2d(3, 5, 1), nn.Conv2d(5, 5, 1, groups=5)), "groups=5"),
        (
            nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 5, 1)),
            "the weight of the last layer with 5 outputs is no parameter",
        ),
    ],
)
def test_a_network_without_a_linear_head_is_refused(layer, expected):
    with pytest.raises(NoHead) as caught:
        find_linear_heads(nn.Sequential(layer), 5, torch.zeros(1, 3, 4, 4))
    assert expected in str(caught.value)
