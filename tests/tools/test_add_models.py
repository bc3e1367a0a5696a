import shutil
from pathlib import Path

import pytest
from helpers.checkout import ROOT
from helpers.params import MISSING, SMALL, write_params
from helpers.refusals import refused

from parity.core.params import load_params
from parity.networks.network import model_names
from tools import add_models

ALL = {name for names in add_models.MODELS.values() for name in names}


@pytest.fixture
def own_params(tmp_path, monkeypatch):
    """A copy of the project's own params.yaml, comments and all."""
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copy(ROOT / "params.yaml", tmp_path))


def test_the_readmes_table_has_16_classifiers_and_2_segmentation_models():
    assert {task: len(names) for task, names in add_models.MODELS.items()} == {
        "classification": 16,
        "segmentation": 2,
    }
    for task, names in add_models.MODELS.items():
        assert set(names) <= set(model_names(task))


def test_existing_lines_and_comments_stay(own_params):
    before = own_params.read_text()
    existing = load_params()
    add_models.main([])
    after = own_params.read_text()
    assert after.startswith(before.rstrip("\n"))
    params = load_params()
    assert set(params.models) == ALL | set(existing.models)
    assert params.model_copy(update={"models": existing.models}) == existing
    for name, model in existing.models.items():
        assert params.models[name] == model
    for name in set(params.models) - set(existing.models):
        assert params.models[name].weights == "probe"


def test_a_second_run_adds_nothing(own_params):
    add_models.main([])
    before = own_params.read_bytes()
    add_models.main(["--weights", "random"])
    assert own_params.read_bytes() == before


def test_the_added_models_have_the_chosen_weights(project):
    add_models.main(["--weights", "DEFAULT"])
    models = load_params().models
    assert models["squeezenet1_1"].weights == "random"
    assert {model.weights for name, model in models.items() if name != "squeezenet1_1"} == {
        "DEFAULT"
    }


def test_added_models_take_the_first_profile_of_their_task(project):
    profile = SMALL["preprocess"]["imagenet"]
    write_params(project, {"preprocess.other": profile})
    add_models.main([])
    models = load_params().models
    assert models["vgg11"].preprocess == "imagenet" and models["fcn_resnet50"].preprocess == "voc"


def test_without_a_profile_for_their_task_nothing_is_added(project):
    write_params(project, {"preprocess.voc": MISSING})
    before = (project / "params.yaml").read_bytes()
    with refused("params.yaml: preprocess: no profile for segmentation"):
        add_models.main([])
    assert (project / "params.yaml").read_bytes() == before
