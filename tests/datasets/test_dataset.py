import pytest
from helpers.datasets import read

from parity.datasets.dataset import Dataset


@pytest.mark.parametrize("task", ["classification", "segmentation"])
def test_a_saved_dataset_is_loaded_unchanged(tmp_path, task, request):
    dataset = read(request.getfixturevalue("imagenet" if task == "classification" else "voc"), task)
    dataset.save(tmp_path / "dataset.json", more="kept beside")
    assert Dataset.load(tmp_path / "dataset.json") == dataset
