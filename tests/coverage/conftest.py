import shutil
from pathlib import Path

import pytest
from helpers import loaders
from helpers.coverage import RIGHT, WRONG, cover, write_cells
from helpers.params import write_params

from parity.core.params import load_params
from parity.coverage import measure
from parity.coverage.report import report_full


@pytest.fixture(scope="session")
def _measured(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("measured")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_params(folder)
        cover(f"{RIGHT} {WRONG}", processes=2)
    return folder


@pytest.fixture
def measured(_measured, tmp_path, monkeypatch) -> Path:
    """A project in which a narrowed run measured RIGHT and WRONG. Its own copy."""
    shutil.copytree(_measured, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def _recorded(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("recorded")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_params(folder)
        write_cells()
        report_full(load_params())
    return folder


@pytest.fixture
def recorded(_recorded, tmp_path, monkeypatch) -> Path:
    """A project with the cells of `write_cells` and the answer of a full run. Its own copy."""
    shutil.copytree(_recorded, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def tiny(project, monkeypatch):
    """A project in which each model is a tiny linear classifier. Call it to put other functions of
    `helpers.loaders` into parity.coverage.measure."""

    def put(**functions):
        for name, function in functions.items():
            monkeypatch.setattr(measure, name, function)

    put(
        make_reference=loaders.tiny_reference,
        make_exact=loaders.tiny_exact,
        export_model=loaders.tiny_export,
    )
    return put
