"""What the Makefile does with a user's values: no target lets make or the shell run them."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from helpers.checkout import ROOT

pytestmark = pytest.mark.pipeline

MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
TARGETS = re.findall(r"^([a-z][a-z-]*):", MAKEFILE, re.MULTILINE)
VARIABLES = [*re.search(r"^FROM_USER := (.*)$", MAKEFILE, re.MULTILINE)[1].split(), "INSTALLED"]
HOSTILE = (
    "x; touch pwned",
    "x$(shell touch pwned)",
    "x$$(touch pwned)",
    "x`touch pwned`",
    'x"; touch pwned; "',
    "x'; touch pwned; '",
    "x && touch pwned #",
    "x\ntouch pwned",
)
STUB = """#!/bin/sh
[ "$1" = --version ] && echo "Python 3.99" || printf '%s\\n' "$@" >> arguments
"""


@pytest.fixture
def folder(tmp_path) -> Path:
    """The Makefile in a folder where nothing is left to install, and whose Python only notes its
    arguments."""
    for name in ("Makefile", "requirements.txt"):
        shutil.copy(ROOT / name, tmp_path / name)
    for name in ("bin/python3", ".venv/bin/python", ".venv/bin/ruff"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(STUB)
        (tmp_path / name).chmod(0o755)
    requirements = (tmp_path / "requirements.txt").read_text(encoding="utf-8")
    installed = f"Python 3.99\n{tmp_path}\n{requirements}"
    (tmp_path / ".venv/installed").write_text(installed, encoding="utf-8")
    return tmp_path


def make(folder: Path, *words: str, **environment: str) -> subprocess.CompletedProcess:
    base = {"PATH": f"{folder}/bin:/usr/bin:/bin", "HOME": str(folder)}
    command = ["make", "--directory", str(folder), *words]
    return subprocess.run(
        command, env=base | environment, capture_output=True, text=True, timeout=60
    )


def test_every_variable_that_a_recipe_takes_from_the_user_is_listed():
    """In `$(NAME)` make would expand the value into the shell's text."""
    ours = {
        "CAN_CLEAN",
        "CURDIR",
        "DVC",
        "DEMO_FLAGS",
        "LOCK_BEFORE",
        "LOCK_IS_WHOLE",
        "MAKE",
        "MAKEFILE_LIST",
    }
    asked_only = re.sub(r"\$\(filter-out 0,\$\(\w+\)\)", "", MAKEFILE)  # whether it is empty
    recipes = [line for line in asked_only.splitlines() if line.startswith("\t")]
    assert {name for line in recipes for name in re.findall(r"\$\((\w+)\)", line)} <= ours


@pytest.mark.parametrize("way", ["argument", "environment"])
@pytest.mark.parametrize("variable", VARIABLES)
def test_no_value_is_run(folder, variable, way):
    targets = [target for target in TARGETS if target not in ("clean", "distclean", "venv")]
    for number, value in enumerate(HOSTILE):
        target = targets[(number + VARIABLES.index(variable)) % len(targets)]
        words, environment = [target], {}
        if way == "argument":
            words.append(f"{variable}={value}")
        else:
            environment[variable] = value
        make(folder, *words, **environment)
        assert not (folder / "pwned").exists(), f"{target}: {variable}={value!r}"


@pytest.mark.parametrize(("value", "is_set"), [("1", True), ("0", False), ("", False)])
def test_a_workaround_is_applied_where_one_asks_for_it(folder, value, is_set):
    make(folder, "workaround", "MODEL=x", f"APPLY={value}")
    arguments = (folder / "arguments").read_text(encoding="utf-8").splitlines()
    assert ("--apply" in arguments) == is_set


@pytest.mark.parametrize(("value", "job"), [("1", "quick"), ("0", "repro"), ("", "repro")])
def test_a_quick_run_is_made_where_one_asks_for_it(folder, value, job):
    make(folder, f"QUICK={value}", "MODEL=it's a $x")
    arguments = (folder / "arguments").read_text(encoding="utf-8").splitlines()
    other = {"quick": "repro", "repro": "quick"}[job]
    assert f"tools.{job}" in arguments and f"tools.{other}" not in arguments
    assert ("it's a $x" in arguments) == (job == "quick")


@pytest.mark.parametrize(
    ("target", "variable", "argument"),
    [
        ("locate", "MODEL", "{}"),
        ("workaround", "MODEL", "{}"),
        ("reproducer", "MODEL", "{}"),
        ("classify", "MODEL", "--model={}"),
        ("bundle", "MODEL", "--model={}"),
        ("bundle", "IMAGES", "--images={}"),
        ("bundle", "INPUT", "--input={}"),
        ("segment", "IMAGE", "--image={}"),
        ("all-models", "WEIGHTS", "--weights={}"),
        ("coverage", "MODELS", "--models={}"),
        ("coverage", "EXPORTERS", "--exporters={}"),
        ("coverage", "ENGINES", "--engines={}"),
        ("coverage", "JOBS", "--jobs={}"),
        ("coverage", "OPENCV", "--opencv={}"),
        ("coverage", "ZOO", "--zoo={}"),
        ("operators", "OPERATORS", "--operators={}"),
        ("operators", "OPENCV", "--opencv={}"),
        ("operators", "JOBS", "--jobs={}"),
    ],
)
@pytest.mark.parametrize("value", ["x; touch pwned", "$(shell touch pwned)", 'it\'s a "name" $x'])
def test_a_value_reaches_its_script_as_it_is(folder, target, variable, argument, value):
    make(folder, target, f"{variable}={value}")
    arguments = (folder / "arguments").read_text(encoding="utf-8").splitlines()
    assert argument.format(value) in arguments
    assert not (folder / "pwned").exists()
