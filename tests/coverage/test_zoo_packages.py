import sys

import pytest
from helpers.refusals import refused
from helpers.zoos import ZOO, write_zoo

from parity.core.params import load_params
from parity.coverage import zoo_packages
from parity.coverage.zoo_packages import provide_zoo

LIMIT_S = 100
OLDER = '{"packages": ["tinynets==0.9"]}'


def provide() -> None:
    provide_zoo(ZOO, load_params().coverage.zoo[ZOO], LIMIT_S)


@pytest.fixture
def installed(monkeypatch) -> list:
    """What pip is asked to install, in place of the installation."""
    asked = []
    monkeypatch.setattr(zoo_packages, "install", lambda *arguments: asked.append(arguments))
    return asked


@pytest.mark.process
def test_a_folder_with_these_packages_is_used_and_only_in_other_processes(project, installed):
    write_zoo(project)
    provide()
    assert not installed and "tinynets" not in sys.modules
    assert not any("coverage/zoo" in folder for folder in sys.path)


@pytest.mark.process
def test_other_packages_replace_the_folder(project, installed):
    write_zoo(project)
    note = project / "data/coverage/zoo" / ZOO / "packages.json"
    note.write_text(OLDER)
    key = f"params.yaml: coverage.zoo.{ZOO}"
    with refused(f"{key}.factory: tinynets:create: cannot be imported (ModuleNotFoundError"):
        provide()  # what was there is gone, and nothing was installed in its place
    ((requirements, _, where),) = installed
    assert (requirements, where) == (["tinynets==1.0"], f"{key}.packages")


def test_a_failed_installation_leaves_the_folder_as_it_was(project, monkeypatch):
    write_zoo(project)
    note = project / "data/coverage/zoo" / ZOO / "packages.json"
    note.write_text(OLDER)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    with refused("coverage.zoo.tiny.packages: pip cannot install tinynets 1.0: "):
        provide()
    assert note.read_text() == OLDER


@pytest.mark.process
def test_data_may_be_a_link_to_another_disk(project, installed, tmp_path_factory):
    write_zoo(project)
    elsewhere = tmp_path_factory.mktemp("disk") / "data"
    (project / "data").rename(elsewhere)
    (project / "data").symlink_to(elsewhere)
    provide()
    (elsewhere / "coverage/zoo" / ZOO / "packages.json").write_text(OLDER)
    with refused("tinynets:create: cannot be imported"):
        provide()
    assert installed
