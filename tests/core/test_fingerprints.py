"""The fingerprint of code: what counts for a module, and what does not."""

import sys
from pathlib import Path

import pytest

from parity.core import fingerprints
from parity.core.fingerprints import fingerprint, loaded_sources, stamps

LIBRARY = {
    "stages/__init__.py": "",
    "parity/__init__.py": "",
    "parity/child.py": "def serve():\n    return 1\n",
    "parity/library.py": '''"""Docstring."""

import cv2
import numpy as np

from parity.other import inner

CONSTANT = 3
UNUSED_CONSTANT = 4


def used():
    """Return it."""
    return helper() + np.float32(1)


def helper():
    return inner()


def unused():
    return cv2.imread("x")
''',
    "parity/other.py": "def inner():\n    return 1\n\n\ndef outer():\n    return 2\n",
    "stages/one.py": '''"""A stage."""

from typing import TYPE_CHECKING

from parity.library import CONSTANT, used

if TYPE_CHECKING:
    import torch


def main():
    from parity import late

    command = "from parity.child import serve; serve()"
    return used() + CONSTANT + late.value(), command, "parity/pages"
''',
    "parity/pages/page.html": "<p>{{ text }}</p>",
    "parity/late.py": "def value():\n    return 5\n\n\ndef never():\n    return 6\n",
}


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """A small project; the function replaces a text in one of its files."""
    for name, text in LIBRARY.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(fingerprints, "ROOT", tmp_path)
    fingerprints._module.cache_clear()

    def replace(name: str, old: str, new: str) -> None:
        text = (tmp_path / name).read_text()
        assert old in text
        (tmp_path / name).write_text(text.replace(old, new))
        fingerprints._module.cache_clear()

    yield replace
    fingerprints._module.cache_clear()


COUNTS = {
    "what it calls": ("parity/library.py", "helper() + np", "helper() - np"),
    "what that calls": ("parity/library.py", "return inner()", "return inner() + 1"),
    "a module further down": ("parity/other.py", "return 1", "return 3"),
    "a constant": ("parity/library.py", "CONSTANT = 3", "CONSTANT = 5"),
    "an import inside a function": ("parity/late.py", "return 5", "return 7"),
    "a module that a string names": ("parity/child.py", "return 1", "return 2"),
    "a file in a folder that a string names": ("parity/pages/page.html", "<p>", "<b>"),
    "what runs on import": ("parity/library.py", "def used", "print('imported')\n\n\ndef used"),
    "the module itself": ("stages/one.py", "used() + CONSTANT", "used() * CONSTANT"),
}
DOES_NOT = {
    "a docstring": ("parity/library.py", "Return it.", "Return something."),
    "a comment": ("parity/library.py", "CONSTANT = 3", "CONSTANT = 3  # of three"),
    "layout": ("parity/library.py", "helper() + np", "helper()  +  np"),
    "a function that it does not reach": ("parity/library.py", 'imread("x")', 'imread("y")'),
    "a constant that it does not reach": ("parity/library.py", "UNUSED_CONSTANT = 4", "OTHER = 5"),
    "another function further down": ("parity/other.py", "return 2", "return 3"),
    "an attribute of a module that it does not read": ("parity/late.py", "return 6", "return 8"),
}


@pytest.mark.parametrize("change", COUNTS.values(), ids=COUNTS)
def test_code_that_a_module_reaches_counts(tree, change):
    before = fingerprint("stages.one")
    tree(*change)
    assert fingerprint("stages.one") != before


@pytest.mark.parametrize("change", DOES_NOT.values(), ids=DOES_NOT)
def test_nothing_else_counts(tree, change):
    before = fingerprint("stages.one")
    tree(*change)
    assert fingerprint("stages.one") == before


def test_a_library_counts_where_what_is_reached_uses_it(tree):
    assert fingerprint("stages.one")["libraries"].keys() == {"numpy"}
    tree("parity/library.py", "return helper()", "return unused() + helper()")
    assert fingerprint("stages.one")["libraries"].keys() == {"numpy", "opencv-python"}


def test_a_constant_that_is_only_validated_reruns_the_check_alone(monkeypatch):
    """A new key in params.yaml must not rerun all stages."""
    names = {name: fingerprint(f"stages.{name}")["code"] for name in ("evaluate", "check_params")}
    assert "parity.core.params:Params" not in names["evaluate"]
    assert "parity.core.params:Params" in names["check_params"]
    assert "parity.core.params:CropParams" in fingerprint("stages.preprocess")["code"]


def test_a_module_that_is_not_there_is_named():
    with pytest.raises(FileNotFoundError, match=r"stages/none\.py"):
        fingerprint("stages.none")


def test_a_child_process_is_reached_by_its_command_line():
    code = fingerprint("stages.infer_opencv")["code"]
    assert any(name.endswith(":serve") for name in code)
    assert "parity.backends.opencv:load_opencv" in code


def test_the_sources_of_ones_own_packages_are_found(tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/__init__.py").write_text("")
    (tmp_path / "mine/blocks.py").write_text("import json\n")
    (tmp_path / "shared.py").write_text("import numpy\n")
    (tmp_path / "mine/nets.py").write_text("import shared\nfrom mine import blocks\n")
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    __import__("mine.nets")
    names = ["mine/__init__.py", "mine/blocks.py", "mine/nets.py", "shared.py"]
    assert loaded_sources(before) == [tmp_path / name for name in names]


def test_a_stamp_is_size_and_time_and_none_where_there_is_no_file(tmp_path):
    (tmp_path / "a").write_bytes(b"12")
    time = (tmp_path / "a").stat().st_mtime_ns
    found = stamps([tmp_path / "a", Path("none")])
    assert found == {str(tmp_path / "a"): [2, time], "none": None}
