import numpy as np
import pytest
import torch
from helpers.params import model_entry
from helpers.refusals import Code, refused
from torch import nn
from torchvision.models import ResNet50_Weights, WeightsEnum, get_model, get_model_weights

from parity.backends.pytorch import load_pytorch
from parity.core.params import PyTorchParams
from parity.networks.network import (
    AUXILIARY_HEADS,
    Logits,
    build,
    heads,
    load_network,
    load_state,
    model_names,
    published_weights,
    read_checkpoint,
)


@pytest.fixture
def checkpoint(tmp_path):
    path = tmp_path / "weights.pth"
    torch.save(build("squeezenet1_1", model_entry(), 10).state_dict(), path)
    return path


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


@pytest.mark.parametrize("classes", [10, 64, 512, 1000])
def test_the_head_of_squeezenet_is_its_last_convolution(classes):
    network = build("squeezenet1_1", model_entry(), classes).eval()
    (head,) = heads(network, classes, torch.zeros(1, 3, 64, 64))
    assert head is network.classifier[1]


@pytest.mark.parametrize(
    ("name", "head"), [("resnet18", "fc"), ("mobilenet_v3_small", "classifier.3")]
)
def test_the_head_is_the_last_linear_layer(name, head):
    network = build(name, model_entry(), 10).eval()
    assert heads(network, 10, torch.zeros(1, 3, 64, 64)) == [network.get_submodule(head)]


@pytest.mark.parametrize("classes", [8, 40])
def test_lraspp_has_two_heads_which_it_adds_up(classes):
    network = build("lraspp_mobilenet_v3_large", model_entry("segmentation"), classes).eval()
    found = heads(network, classes, torch.zeros(1, 3, 64, 64))
    assert found == [network.classifier.low_classifier, network.classifier.high_classifier]


def test_weights_that_were_saved_are_those_that_run(checkpoint):
    network = load_network(checkpoint, "squeezenet1_1", model_entry(), 10)
    assert not network.training
    expected = torch.load(checkpoint, weights_only=True)
    for name, value in network.network.state_dict().items():
        torch.testing.assert_close(value, expected[name], rtol=0, atol=0)
    blob = np.random.default_rng(0).normal(size=(2, 3, 64, 64)).astype(np.float32)
    logits = load_pytorch(network, PyTorchParams(device="cpu", threads=0))(blob)
    assert logits.shape == (2, 10) and logits.dtype == np.float32


def test_a_checkpoint_with_another_head_is_refused_with_both_shapes(checkpoint):
    with refused(
        f"{checkpoint}: classifier.1.weight: found shape (10, 512, 1, 1); "
        "the model needs (7, 512, 1, 1)"
    ):
        load_network(checkpoint, "squeezenet1_1", model_entry(), 7)


def test_a_checkpoint_of_another_model_is_refused_by_its_first_entry(checkpoint):
    with refused(f"{checkpoint}: has no entry conv1.weight, which the model needs"):
        load_network(checkpoint, "resnet18", model_entry(), 10)


def test_an_entry_too_many_is_refused_but_an_auxiliary_heads():
    network = nn.Sequential(nn.Linear(2, 2))
    state = network.state_dict() | {"aux_classifier.0.weight": torch.zeros(1)}
    load_state(network, state, "x.pth")
    with refused("x.pth: entry more belongs to no part of the model"):
        load_state(network, state | {"more": torch.zeros(1)}, "x.pth")


@pytest.mark.parametrize("content", [b"", b"no checkpoint", b"PK\x03\x04 half a zip"])
def test_a_file_that_is_no_checkpoint_is_refused_by_name(tmp_path, content):
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    with refused(f"{path}: not a checkpoint of PyTorch, or not all of it"):
        read_checkpoint(path)


def test_a_truncated_checkpoint_is_refused_by_name(checkpoint):
    checkpoint.write_bytes(checkpoint.read_bytes()[:100_000])
    with refused(f"{checkpoint}: not a checkpoint"):
        read_checkpoint(checkpoint)


def test_a_missing_checkpoint_is_refused_by_name(tmp_path):
    with refused(f"{tmp_path / 'weights.pth'}: no such file"):
        read_checkpoint(tmp_path / "weights.pth")


@pytest.mark.parametrize("content", [[torch.zeros(1)], {"epoch": 3}, torch.zeros(2)])
def test_a_checkpoint_of_something_else_is_refused_by_name(tmp_path, content):
    torch.save(content, tmp_path / "weights.pth")
    with refused(f"{tmp_path / 'weights.pth'}: expected a state dict"):
        read_checkpoint(tmp_path / "weights.pth")


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_that_wants_to_run_code_is_refused_and_does_not_run(tmp_path, zipped):
    path, marker = tmp_path / "weights.pth", tmp_path / "it ran"
    torch.save({"a": Code(marker)}, path, _use_new_zipfile_serialization=zipped)
    with refused(f"{path}: holds a Python object ("):
        read_checkpoint(path)
    assert not marker.exists()
    torch.load(path, weights_only=False)  # the trap itself works
    assert marker.exists()


def test_a_number_of_threads_is_set():
    before = torch.get_num_threads()
    try:
        load_pytorch(nn.Identity(), PyTorchParams(device="cpu", threads=1))
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


def test_the_versions_that_modules_look_for_survive_a_checkpoint(tmp_path):
    # MNASNet refuses to load without the version of its layout.
    torch.save(build("mnasnet0_5", model_entry(), 5).state_dict(), tmp_path / "weights.pth")
    network = load_network(tmp_path / "weights.pth", "mnasnet0_5", model_entry(), 5)
    with torch.inference_mode():
        assert network(torch.zeros(1, 3, 64, 64)).shape == (1, 5)


def test_a_checkpoint_may_lack_what_inference_does_not_need(tmp_path):
    state = build("resnet18", model_entry(), 5).state_dict()
    old = {name: value for name, value in state.items() if "num_batches_tracked" not in name}
    torch.save(old, tmp_path / "weights.pth")
    load_network(tmp_path / "weights.pth", "resnet18", model_entry(), 5)


SPECIAL = ["googlenet", "inception_v3", "maxvit_t", "mnasnet0_5", "vgg16_bn", "vit_b_16"]


def parts(network: nn.Module) -> dict[str, tuple]:
    """Type, settings and shapes of each module, but of the auxiliary heads."""
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
def test_published_weights_meet_the_network_that_torchvision_builds_for_them(name, monkeypatch):
    task = "segmentation" if name in model_names("segmentation") else "classification"
    monkeypatch.setattr(WeightsEnum, "get_state_dict", lambda *_, **__: {})
    monkeypatch.setattr(nn.Module, "load_state_dict", lambda *_, **__: None)
    for member in get_model_weights(name):
        with torch.device("meta"):  # shapes without memory
            theirs = get_model(name, weights=member)
            entry = model_entry(task, weights=member.name)
            ours = build(name, entry, len(member.meta["categories"]))
        assert parts(ours) == parts(theirs)
        assert getattr(ours, "transform_input", None) == getattr(theirs, "transform_input", None)


def test_the_first_layer_of_googlenet_rescales_for_published_weights_alone():
    for weights, rescales in (("DEFAULT", True), ("probe", False), ("mine.pth", False)):
        network = build("googlenet", model_entry(weights=weights), 1000)
        assert network.transform_input == rescales


@pytest.mark.parametrize("says", ["IMAGENET1K_V2", "DEFAULT", "ResNet50_Weights.IMAGENET1K_V2"])
def test_published_weights_have_a_short_and_a_full_name(says):
    found = published_weights("resnet50", model_entry(weights=says))
    assert found is ResNet50_Weights.IMAGENET1K_V2


@pytest.mark.parametrize("says", ["probe", "random", "mine.pth", "ResNet18_Weights.IMAGENET1K_V1"])
def test_other_weights_are_not_published_ones_of_the_model(says):
    assert published_weights("resnet50", model_entry(weights=says)) is None
