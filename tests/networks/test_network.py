import pytest
import torch
from helpers.params import model_entry
from helpers.refusals import refused
from torch import nn
from torchvision.models import ResNet50_Weights, WeightsEnum, get_model, get_model_weights

from parity.networks.checkpoints import AUXILIARY_HEADS
from parity.networks.network import Logits, build, model_names, published_weights


def test_models_are_named_by_task():
    assert {"resnet50", "squeezenet1_1"} <= set(model_names("classification"))
    assert set(model_names("segmentation")) >= {"fcn_resnet50", "deeplabv3_resnet50"}
    assert not set(model_names("segmentation")) & set(model_names("classification"))


@pytest.mark.parametrize(
    ("name", "task", "expected"),
    [
        ("resnet5O", "classification", "did you mean resnet50?"),
        ("fcn_resnet50", "classification", "no classification model"),
        ("resnet50", "segmentation", "no segmentation model"),
    ],
)
def test_an_unknown_model_is_refused_by_name(name, task, expected):
    with refused(f"params.yaml: models.{name}: torchvision has no {task} model", expected):
        build(name, model_entry(task), 10)


@pytest.mark.parametrize("name", ["squeezenet1_1", "googlenet", "mobilenet_v3_small"])
def test_a_classification_network_gives_one_tensor_of_logits(name):
    network = Logits(build(name, model_entry(), 7)).eval()
    with torch.inference_mode():
        assert network(torch.zeros(2, 3, 64, 64)).shape == (2, 7)


def test_a_segmentation_network_gives_one_tensor_of_the_images_size():
    network = Logits(build("lraspp_mobilenet_v3_large", model_entry("segmentation"), 7)).eval()
    with torch.inference_mode():
        assert network(torch.zeros(1, 3, 50, 70)).shape == (1, 7, 50, 70)


SPECIAL = ["googlenet", "inception_v3", "maxvit_t", "mnasnet0_5", "vgg16_bn", "vit_b_16"]


def modules_of(network: nn.Module) -> dict[str, tuple]:
    """Type, settings and shapes of each module outside the auxiliary heads."""
    return {
        name: (
            type(module),
            {key: value for key, value in vars(module).items() if isinstance(value, PLAIN)},
            {key: value.shape for key, value in module.state_dict().items()},
        )
        for name, module in network.named_modules()
        if not f"{name}.".startswith(AUXILIARY_HEADS) and name
    }


PLAIN = (bool, int, float, str, tuple)


@pytest.mark.parametrize("name", [*SPECIAL, *model_names("segmentation")])
def test_published_weights_get_the_network_that_torchvision_builds_for_them(name, monkeypatch):
    task = "segmentation" if name in model_names("segmentation") else "classification"
    monkeypatch.setattr(WeightsEnum, "get_state_dict", lambda *_, **__: {})
    monkeypatch.setattr(nn.Module, "load_state_dict", lambda *_, **__: None)
    for member in get_model_weights(name):
        with torch.device("meta"):  # shapes without memory
            theirs = get_model(name, weights=member)
            entry = model_entry(task, weights=member.name)
            ours = build(name, entry, len(member.meta["categories"]))
        assert modules_of(ours) == modules_of(theirs)
        assert getattr(ours, "transform_input", None) == getattr(theirs, "transform_input", None)


def test_the_first_layer_of_googlenet_rescales_for_published_weights_alone():
    for weights, rescales in (("DEFAULT", True), ("probe", False), ("mine.pth", False)):
        network = build("googlenet", model_entry(weights=weights), 1000)
        assert network.transform_input == rescales


@pytest.mark.parametrize("value", ["IMAGENET1K_V2", "DEFAULT", "ResNet50_Weights.IMAGENET1K_V2"])
def test_published_weights_have_a_short_and_a_full_name(value):
    found = published_weights("resnet50", model_entry(weights=value))
    assert found is ResNet50_Weights.IMAGENET1K_V2


@pytest.mark.parametrize("value", ["probe", "random", "mine.pth", "ResNet18_Weights.IMAGENET1K_V1"])
def test_other_weights_are_not_published_for_the_model(value):
    assert published_weights("resnet50", model_entry(weights=value)) is None
