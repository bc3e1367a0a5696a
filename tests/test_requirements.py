"""requirements-check.txt, the light install of `make check`."""

from helpers.requirements import LIGHT, WHOLE, packages


def test_the_light_install_has_the_versions_of_the_whole_one():
    assert LIGHT < WHOLE


def test_the_light_install_has_no_pytorch_and_nothing_that_only_the_pipeline_needs():
    heavy = {"torch", "torchvision", "dvc", "matplotlib", "pytest", "ruff", "tqdm"}
    assert heavy <= packages(WHOLE) - packages(LIGHT)
