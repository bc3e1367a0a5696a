import json
from pathlib import Path

import pytest
import torch
from helpers.checkout import stage_process
from helpers.params import model_entry, write_params
from helpers.refusals import refused

from parity.core.params import load_params
from parity.networks.network import build, load_network
from parity.preprocessing.splits import Split
from stages import weights

NAME = "squeezenet1_1"
PATH = Path("models") / NAME / "weights.pth"
HEAD = ("classifier.1.weight", "classifier.1.bias")


def make(project: Path, says: str, **changes: object) -> dict[str, torch.Tensor]:
    write_params(project, {f"models.{NAME}.weights": says} | changes)
    weights.main([NAME])
    return torch.load(PATH, weights_only=True)


def same(one: dict, other: dict) -> list[str]:
    return [name for name in one if torch.equal(one[name], other[name])]


def test_a_probe_is_right_on_what_it_was_fitted_to(prepared):
    make(prepared, "probe", **{"probe.ridge": 1e-6})
    split = Split("imagenet", "train", "classification")
    blob = weights.normalize(split.images(0, 20), [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    network = load_network(PATH, NAME, model_entry(), 10)
    with torch.inference_mode():
        right = network(torch.from_numpy(blob)).argmax(dim=1).numpy() == split.labels()
    assert right.mean() > 0.8


def test_the_same_seed_makes_the_same_weights_and_another_seed_others(prepared):
    first = make(prepared, "probe")
    assert len(same(first, make(prepared, "probe"))) == len(first)
    other = make(prepared, "probe", seed=1)
    assert not [name for name in same(first, other) if name.endswith("weight")]


def test_a_probe_differs_from_random_weights_in_its_head_alone(prepared):
    probe, random = make(prepared, "probe"), make(prepared, "random")
    assert set(probe) - set(same(probe, random)) == set(HEAD)


def test_the_batch_norms_of_random_weights_are_calibrated(prepared):
    entry = {"task": "classification", "preprocess": "imagenet", "weights": "random"}
    write_params(prepared, {"models.resnet18": entry})
    weights.main(["resnet18"])
    state = torch.load("models/resnet18/weights.pth", weights_only=True)
    means = [value for name, value in state.items() if name.endswith("running_mean")]
    assert means and all(value.abs().max() > 0 for value in means)


def test_a_segmentation_is_fitted_too(prepared):
    entry = {"task": "segmentation", "preprocess": "voc", "weights": "probe"}
    write_params(prepared, {"models.lraspp_mobilenet_v3_large": entry})
    weights.main(["lraspp_mobilenet_v3_large"])
    path = Path("models/lraspp_mobilenet_v3_large/weights.pth")
    network = load_network(path, "lraspp_mobilenet_v3_large", model_entry("segmentation"), 8)
    split = Split("voc", "train", "segmentation")
    images, masks = split.cut_to_common_size(0, 2)
    blob = weights.normalize(images, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    with torch.inference_mode():
        predicted = network(torch.from_numpy(blob)).argmax(dim=1).numpy()
    assert (predicted == masks)[masks != 255].mean() > 0.7


def test_a_checkpoint_of_ones_own_is_taken_as_it_is(prepared):
    torch.manual_seed(5)
    state = build(NAME, model_entry(), 10).state_dict()
    torch.save(state, "my weights.pth")
    assert len(same(make(prepared, "my weights.pth"), state)) == len(state)


def test_a_checkpoint_with_another_head_is_refused_with_both_shapes(prepared):
    torch.save(build(NAME, model_entry(), 7).state_dict(), "mine.pth")
    with refused("mine.pth: classifier.1.weight: found shape (7, 512, 1, 1); the model needs (10,"):
        make(prepared, "mine.pth")
    assert not PATH.exists()


def test_wrong_weights_leave_those_that_were_there(prepared):
    before = make(prepared, "random")
    Path("mine.pth").write_text("no checkpoint")
    with refused("mine.pth: not a checkpoint of PyTorch"):
        make(prepared, "mine.pth")
    assert len(same(before, torch.load(PATH, weights_only=True))) == len(before)
    assert sorted(path.name for path in PATH.parent.iterdir()) == ["source.json", "weights.pth"]


@pytest.mark.parametrize("says", ["prob", "IMAGENET1K_V9", "nowhere/weights.pth"])
def test_unknown_weights_are_refused_with_those_that_are_known(prepared, says):
    expected = "expected one of probe, random, IMAGENET1K_V1, DEFAULT or the path of"
    with refused(f"params.yaml: models.{NAME}.weights: found {says!r}", expected):
        make(prepared, says)


@pytest.mark.parametrize("says", ["IMAGENET1K_V1", "DEFAULT"])
def test_published_weights_of_another_number_of_classes_are_refused_before_a_download(
    prepared, says, monkeypatch
):
    monkeypatch.setenv("TORCH_HOME", str(prepared / "cache"))
    with refused(f"params.yaml: models.{NAME}.weights: ", "has 1000 outputs", "has 10 classes"):
        make(prepared, says)
    assert not (prepared / "cache").exists()


def test_features_without_a_classifier_are_refused_with_those_that_have_one(prepared):
    entry = {"task": "classification", "preprocess": "imagenet", "weights": "IMAGENET1K_FEATURES"}
    write_params(prepared, {"models.vgg16": entry})
    with refused(
        "params.yaml: models.vgg16.weights: VGG16_Weights.IMAGENET1K_FEATURES has no classifier; "
        "expected one of IMAGENET1K_V1, DEFAULT"
    ):
        weights.main(["vgg16"])


def test_weights_of_another_model_are_refused_with_those_that_are_known(prepared):
    with refused("found 'ResNet18_Weights.IMAGENET1K_V1', which is no file; expected one of"):
        make(prepared, "ResNet18_Weights.IMAGENET1K_V1")


@pytest.mark.parametrize("says", ["random", "mine.pth"])
def test_only_published_weights_have_a_published_accuracy(prepared, says):
    torch.save(build(NAME, model_entry(), 10).state_dict(), "mine.pth")
    make(prepared, says)
    source = json.loads((PATH.parent / "source.json").read_text())
    assert source["published"] is None
    assert list(source["files"]) == (["mine.pth"] if says == "mine.pth" else [])


def test_a_probe_needs_train_images_and_random_weights_do_not(prepared):
    (prepared / "data/preprocessed/imagenet/train/names.txt").write_text("")
    with refused(f"params.yaml: models.{NAME}.weights: ", "has 0", "`random`"):
        make(prepared, "probe")
    make(prepared, "random")


@pytest.mark.parametrize("says", ["random", "IMAGENET1K_V1"])
def test_an_unknown_model_ends_with_code_2_and_one_line(prepared, says):
    entry = {"task": "classification", "preprocess": "imagenet", "weights": says}
    write_params(prepared, {"models.resnet5O": entry})
    process = stage_process("weights", "resnet5O", cwd=prepared)
    out, err = process.communicate()
    assert (process.returncode, out) == (2, "")
    assert err == (
        "error: params.yaml: models.resnet5O: torchvision has no classification model of this "
        "name; did you mean resnet50?\n"
    )


@pytest.mark.parametrize(("total", "sizes"), [(8, [8]), (9, [9]), (10, [8, 2]), (17, [8, 9])])
def test_no_batch_has_one_image_alone(prepared, total, sizes):
    params = load_params()
    train = Split("imagenet", "train", "classification")
    found = weights.batches(train, total, params.models[NAME], params, "fit")
    assert [len(blob) for blob, _ in found] == sizes
