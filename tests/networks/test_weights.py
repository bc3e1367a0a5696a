import pytest
import torch
from helpers.params import MEAN, STD, model_entry, write_params
from helpers.refusals import refused
from torch import nn

from parity.core.params import load_params
from parity.networks.network import Logits, build
from parity.networks.weights import labelled_batches, network_with_weights
from parity.preprocessing.images import normalize
from parity.preprocessing.splits import Split

pytestmark = pytest.mark.process

NAME = "squeezenet1_1"
HEAD = {"classifier.1.weight", "classifier.1.bias"}
SEGMENTATION = "lraspp_mobilenet_v3_large"


def network(name: str = NAME, classes: int = 10, **entry: object) -> nn.Module:
    """The network of an entry with the prepared project's constants."""
    model = model_entry(**({"preprocess": "imagenet"} | entry))
    return network_with_weights(name, model, load_params(), classes)[0]


def state(weights: str) -> dict[str, torch.Tensor]:
    return network(weights=weights).state_dict()


def same(one: dict, other: dict) -> set[str]:
    return {name for name in one if torch.equal(one[name], other[name])}


def predicted(network: nn.Module, images) -> torch.Tensor:
    with torch.inference_mode():
        return Logits(network.eval())(torch.from_numpy(normalize(images, MEAN, STD))).argmax(dim=1)


# Computed offline


def test_a_probe_is_right_on_the_images_that_it_is_fitted_to(prepared):
    write_params(prepared, {"probe.ridge": 1e-6})
    split = Split("imagenet", "train", "classification")
    right = predicted(network(weights="probe"), split.images(0, 20)).numpy() == split.labels()
    assert right.mean() > 0.8


def test_a_segmentation_probe_is_right_on_most_pixels(prepared):
    entry = {"task": "segmentation", "preprocess": "voc", "weights": "probe"}
    probe = network(SEGMENTATION, 8, **entry)
    images, masks = Split("voc", "train", "segmentation").cut_to_common_size(0, 2)
    assert (predicted(probe, images).numpy() == masks)[masks != 255].mean() > 0.7


def test_equal_seeds_give_equal_weights_and_other_seeds_others(prepared):
    first = state("probe")
    assert same(first, state("probe")) == set(first)
    write_params(prepared, {"seed": 1})
    other = state("probe")
    assert not [name for name in same(first, other) if name.endswith("weight")]


def test_a_probe_differs_from_random_weights_in_its_head_alone(prepared):
    probe, random = state("probe"), state("random")
    assert set(probe) - same(probe, random) == HEAD


def test_the_batch_norms_of_random_weights_are_calibrated(prepared):
    weights = network("resnet18", weights="random").state_dict()
    means = [value for name, value in weights.items() if name.endswith("running_mean")]
    assert means and all(value.abs().max() > 0 for value in means)


def test_the_logits_of_random_weights_differ_between_images(prepared):
    """Else nothing could differ between backends, and the verdict would be vacuous."""
    entry = {"factory": "helpers.factories:with_head_of_zeros", "weights": "random"}
    images = Split("imagenet", "val", "classification").images(0, 10)
    with torch.inference_mode():
        logits = network("mine", **entry).eval()(torch.from_numpy(normalize(images, MEAN, STD)))
    spread = (logits.amax(dim=0) - logits.amin(dim=0)).max() / logits.abs().max()
    assert spread > load_params().gate.spread


def test_random_weights_of_a_network_with_a_wrong_output_are_refused(prepared):
    entry = {"factory": "helpers.factories:with_head_of_zeros", "weights": "random"}
    with refused("params.yaml: models.mine.output: found 'out'; the network returns one tensor"):
        network("mine", **entry, output="out")


def test_a_probe_needs_train_images_and_random_weights_do_not(prepared):
    (prepared / "data/preprocessed/imagenet/train/names.txt").write_text("")
    with refused(f"params.yaml: models.{NAME}.weights: ", "has 0", "`random`"):
        network(weights="probe")
    network(weights="random")


@pytest.mark.parametrize(("total", "sizes"), [(8, [8]), (9, [9]), (10, [8, 2]), (17, [8, 9])])
def test_no_batch_holds_a_single_image(prepared, total, sizes):
    params = load_params()
    train = Split("imagenet", "train", "classification")
    batches = labelled_batches(train, total, params.models[NAME], params, "fit")
    assert [len(blob) for blob, _ in batches] == sizes


# Read from a file


def test_a_checkpoint_is_loaded_unchanged(prepared):
    torch.manual_seed(5)
    expected = build(NAME, model_entry(), 10).state_dict()
    torch.save(expected, "my weights.pth")
    assert same(state("my weights.pth"), expected) == set(expected)


def test_a_checkpoint_with_another_head_is_refused_with_both_shapes(prepared):
    torch.save(build(NAME, model_entry(), 7).state_dict(), "mine.pth")
    with refused("mine.pth: classifier.1.weight: found shape (7, 512, 1, 1); the model needs (10,"):
        network(weights="mine.pth")


@pytest.mark.parametrize(
    "weights",
    ["prob", "IMAGENET1K_V9", "nowhere/weights.pth", "ResNet18_Weights.IMAGENET1K_V1"],
)
def test_unknown_weights_are_refused_with_those_that_are_known(prepared, weights):
    expected = "which is no file; expected one of probe, random, IMAGENET1K_V1, DEFAULT or the path"
    with refused(f"params.yaml: models.{NAME}.weights: found {weights!r}", expected):
        network(weights=weights)


@pytest.mark.parametrize("weights", ["IMAGENET1K_V1", "DEFAULT"])
def test_published_weights_of_another_number_of_classes_are_refused_before_a_download(
    prepared, weights, monkeypatch
):
    monkeypatch.setenv("TORCH_HOME", str(prepared / "cache"))
    with refused(f"params.yaml: models.{NAME}.weights: ", "has 1000 outputs", "has 10 classes"):
        network(weights=weights)
    assert not (prepared / "cache").exists()


def test_features_without_a_classifier_are_refused_with_weights_that_have_one(prepared):
    with refused(
        "params.yaml: models.vgg16.weights: VGG16_Weights.IMAGENET1K_FEATURES has no classifier; "
        "expected one of IMAGENET1K_V1, DEFAULT"
    ):
        network("vgg16", weights="IMAGENET1K_FEATURES")


# The output of a network of the user's


@pytest.mark.parametrize("output", [None, "out", "aux"])
def test_one_of_several_outputs_is_not_taken_without_a_word(prepared, capsys, output):
    entry = {"factory": "helpers.factories:with_two_answers", "weights": "random", "output": output}
    network(**entry)
    keys = "the network returns a dict with the keys 'out', 'aux'"
    said = f"{NAME}: {keys}; 'out' is compared: models.{NAME}.output names another\n"
    assert (said in capsys.readouterr().err) == (output is None)
