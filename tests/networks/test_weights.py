from pathlib import Path

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


# Computed for the network of a factory

MODULE = """
import torch
from torch import nn

class Network(nn.Module):
    def __init__(self, head):
        super().__init__()
        self.stem, self.head = nn.Conv2d(3, 8, 3), head
    def forward(self, blob):
        return self.head(self.stem(blob).mean((2, 3)))

class NoHead(Network):
    def forward(self, blob):
        return super().forward(blob).repeat(1, 2)[:, :10]

class Tokens(Network):
    def forward(self, blob):
        return self.head(self.stem(blob).flatten(2).transpose(1, 2)).mean(1)

class Twice(Network):
    def forward(self, blob):
        return super().forward(blob) + super().forward(-blob)

class OneByOne(Network):
    def forward(self, blob):
        if len(blob) > 1:
            raise ValueError("one at a time")
        return super().forward(blob)

class Raises(Network):
    def forward(self, blob):
        raise KeyError("x" * 5000)

class Returns(Network):
    def __init__(self, change):
        super().__init__(nn.Linear(8, 10))
        self.change = change
    def forward(self, blob):
        return self.change(super().forward(blob))

class Named(Network):
    def forward(self, blob):
        return self.head(input=self.stem(blob).mean((2, 3)))

def no_head(): return NoHead(nn.Linear(8, 8))
def wide(): return nn.Sequential(nn.Conv2d(3, 10, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
def tokens(): return Tokens(nn.Linear(8, 10))
def twice(): return Twice(nn.Linear(8, 10))
def normed(): return Network(nn.utils.parametrizations.weight_norm(nn.Linear(8, 10)))
def one_by_one(): return OneByOne(nn.Linear(8, 10))
def scripted(): return torch.jit.script(Network(nn.Linear(8, 10)))
def raises(): return Raises(nn.Linear(8, 10))
def double(): return Network(nn.Linear(8, 10)).double()
def integers(): return Returns(lambda logits: logits.long())
def half(): return Returns(lambda logits: logits.half())
def sparse(): return Returns(lambda logits: logits.to_sparse())
def named(): return Named(nn.Linear(8, 10))
"""
LAST = "found 'probe', which fits the last layer, but "


@pytest.fixture
def factories(prepared, monkeypatch) -> Path:
    (prepared / "strange_networks.py").write_text(MODULE)
    monkeypatch.syspath_prepend(prepared)
    return prepared


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("function", "weights", "expected"),
    [
        ("no_head", "probe", f"weights: {LAST}no layer of the network has 10 outputs; expected a"),
        ("wide", "probe", f"weights: {LAST}the last layer with 10 outputs is Conv2d(3, 10, kernel"),
        ("tokens", "probe", f"weights: {LAST}the input of the last layer has 3 axes"),
        ("twice", "probe", f"weights: {LAST}the last layer runs several times"),
        ("normed", "probe", f"weights: {LAST}the weight of the last layer"),
        ("one_by_one", "probe", "weights: found 'probe', which cannot be computed"),
        ("one_by_one", "random", "ValueError: one at a time ("),
        ("scripted", "random", "weights: found 'random', which cannot be computed"),
        ("raises", "random", "factory: strange_networks:raises: the network cannot run a blob"),
        ("raises", "probe", "strange_networks.py:"),
        ("double", "random", "factory: strange_networks:double: the network cannot run a blob"),
        ("integers", "random", " the output is torch.int64; expected torch.float32"),
        ("half", "probe", " the output is torch.float16; expected torch.float32"),
        ("sparse", "random", " the output is a sparse tensor; expected torch.float32"),
    ],
)
def test_weights_that_cannot_be_computed_are_refused(factories, function, weights, expected):
    with refused("params.yaml: models.mine", expected) as message:
        network("mine", factory=f"strange_networks:{function}", weights=weights)
    assert len(message[0]) < 1000


@pytest.mark.parametrize(
    ("function", "weights"), [("no_head", "random"), ("normed", "random"), ("named", "probe")]
)
def test_other_networks_get_weights(factories, function, weights):
    network("mine", factory=f"strange_networks:{function}", weights=weights)


# The output of a network of the user's


@pytest.mark.parametrize("output", [None, "out", "aux"])
def test_one_of_several_outputs_is_not_taken_without_a_word(prepared, capsys, output):
    entry = {"factory": "helpers.factories:with_two_answers", "weights": "random", "output": output}
    network(**entry)
    keys = "the network returns a dict with the keys 'out', 'aux'"
    said = f"{NAME}: {keys}; 'out' is compared: models.{NAME}.output names another\n"
    assert (said in capsys.readouterr().err) == (output is None)
