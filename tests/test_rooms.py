"""The rules of the house: where code may import from, and where its tests are."""

import ast
import importlib.util
import sys
from pathlib import Path

import pytest
from helpers.checkout import ROOT

# A room imports only rooms before it; `stages` and `tools` import any, and not each other.
ORDER = (
    *("core", "datasets", "preprocessing", "networks", "backends", "inference", "evaluation"),
    *("graphs", "faults", "mending", "coverage", "operators", "checking", "bundle", "report"),
)
SCRIPTS = ("stages", "tools")
FILES = sorted(
    path.relative_to(ROOT)
    for folder in ("parity", "tests", *SCRIPTS)
    for path in (ROOT / folder).rglob("*.py")
)
ROOMS = sorted({path.parts[1] for path in FILES if path.parts[0] == "parity" and path.parts[2:]})
TESTS = [path for path in FILES if path.name.startswith("test_")]
# About whole runs of the pipeline, or the house itself.
NOT_ABOUT_A_MODULE = ("tests", "tests/pipeline")


def imports(path: Path) -> set[str]:
    """The full names that a file imports, in its functions too."""
    found = set()
    for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8"))):
        match node:
            case ast.Import():
                found |= {alias.name for alias in node.names}
            case ast.ImportFrom():
                name = "." * node.level + (node.module or "")
                if node.level:
                    name = importlib.util.resolve_name(name, ".".join(path.parent.parts))
                found |= {name} | {f"{name}.{alias.name}" for alias in node.names}
    return found


def docstring_and_code(package: str) -> tuple[str | None, list[ast.stmt]]:
    tree = ast.parse((ROOT / package / "__init__.py").read_text(encoding="utf-8"))
    text = ast.get_docstring(tree)
    return text, tree.body[1:] if text else tree.body


def test_every_room_has_a_place_in_the_order():
    assert set(ROOMS) <= set(ORDER)


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_rooms_before_it(room):
    later = [f"parity.{name}" for name in ORDER[ORDER.index(room) + 1 :]]
    forbidden = {*later, *SCRIPTS, "tests"}
    wrong = {
        f"{path}: {name}"
        for path in FILES
        if path.parts[:2] == ("parity", room)
        for name in imports(path)
        if {name.split(".")[0], ".".join(name.split(".")[:2])} & forbidden
    }
    assert not wrong


@pytest.mark.parametrize("path", [path for path in FILES if path.parts[0] in SCRIPTS], ids=str)
def test_no_script_imports_a_script(path):
    assert not [name for name in imports(path) if name.split(".")[0] in SCRIPTS]


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_says_what_it_is_and_holds_no_code_of_its_own(room):
    text, code = docstring_and_code(f"parity/{room}")
    assert text and not code


def test_the_map_lists_every_room_in_order():
    text, code = docstring_and_code("parity")
    listed = [line.split()[0] for line in text.partition("\n\n")[2].splitlines()]
    assert listed == [room for room in ORDER if room in ROOMS] and not code


@pytest.mark.parametrize("path", TESTS, ids=str)
def test_a_test_is_named_after_the_module_that_it_tests(path):
    """Several tests of one module add what they are about: test_run_onnx_pictures.py."""
    folder = path.parent.as_posix()
    if folder in NOT_ABOUT_A_MODULE:
        return
    name = folder.removeprefix("tests/")
    words = path.stem.removeprefix("test_").split("_")
    names = ["_".join(words[:count]) for count in range(1, len(words) + 1)]
    room = Path(name if name in SCRIPTS else f"parity/{name}")
    assert {room / f"{name}.py" for name in names} & {*FILES}


@pytest.mark.parametrize("path", [path for path in FILES if path.parts[0] == "tests"], ids=str)
def test_no_test_imports_a_test(path):
    tests = {"conftest", *(test.stem for test in TESTS)}
    assert not [name for name in imports(path) if tests & {*name.split(".")}]


def test_a_script_about_one_model_applies_the_models_own_settings():
    """`of_model` does. What reads the model's entry alone needs none."""
    texts = {
        path.stem: (ROOT / path).read_text(encoding="utf-8")
        for path in FILES
        if path.parts[0] in SCRIPTS
    }
    looked_up = {name for name, text in texts.items() if "entry(" in text and '"models"' in text}
    assert {name for name in looked_up if "of_model(" not in texts[name]} == {
        "benchmark_pipeline",
        "details",
        "plot",
        "quick",
        "results",
    }


def test_no_helper_hides_a_module_of_python():
    """A helper that runs as a script has its folder before Python's own modules."""
    helpers = {path.stem for path in (ROOT / "tests/helpers").glob("*.py")}
    assert not helpers & sys.stdlib_module_names
