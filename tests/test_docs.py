"""README.md and docs/: short, linked to each other, and naming only what exists."""

import re
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote

import pytest
from helpers.checkout import ROOT

README = ROOT / "README.md"
DOCS = sorted((ROOT / "docs").glob("*.md"))
LONGEST_README = 260  # lines

FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
INLINE_CODE = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\]\(([^)\s]+)\)")
MODULE = re.compile(r"python -m ((?:\w+\.)*\w+)(?![\w.<])")
SCRIPT_CALL = re.compile(r"python (?:-m ((?:tools|stages)\.\w+)|(?:\S*/)?(run_onnx)\.py)(.*)")
SOURCE_PATH = re.compile(r"(?:parity|stages|tools|tests|docs)/[\w./-]*")
TARGET = re.compile(r"make ([a-z][a-z-]*)")

every_page = pytest.mark.parametrize("page", [README, *DOCS], ids=lambda page: page.name)


def prose(page: Path) -> str:
    """A page without its fenced blocks, in which `#` starts a comment."""
    return FENCED.sub("", page.read_text("utf-8"))


def code_lines(page: Path) -> list[str]:
    """Inline code and the lines of fenced blocks, prompts removed and continued lines joined."""
    blocks = "\n".join(FENCED.findall(page.read_text("utf-8"))).replace("\\\n", " ")
    return INLINE_CODE.findall(prose(page)) + [
        line.strip().removeprefix("$ ") for line in blocks.splitlines()
    ]


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives the headings of a page."""
    headings = HEADING.findall(prose(page))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def relative_links(page: Path) -> list[str]:
    return [link for link in LINK.findall(prose(page)) if "://" not in link]


def test_the_readme_stays_short():
    assert len(README.read_text("utf-8").splitlines()) <= LONGEST_README


def test_the_readme_links_every_page():
    assert set(relative_links(README)) >= {f"docs/{page.name}" for page in DOCS}


@every_page
def test_links_and_anchors_resolve(page):
    for link in relative_links(page):
        path, _, anchor = unquote(link).partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target), link


@every_page
def test_make_targets_exist(page):
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    named = {match[1] for line in code_lines(page) if (match := TARGET.match(line))}
    assert named <= set(targets)


@every_page
def test_modules_exist(page):
    for module in MODULE.findall(page.read_text("utf-8")):
        assert find_spec(module), module


@every_page
def test_flags_exist(page):
    for call in filter(None, map(SCRIPT_CALL.search, code_lines(page))):
        module, script, arguments = call.groups()
        path = f"{(module or f'tools.{script}').replace('.', '/')}.py"
        source = (ROOT / path).read_text("utf-8")
        for name in re.findall(r"--(?:no-)?([a-z][a-z-]*)", arguments):
            assert f'"--{name}"' in source or f'"{name}"' in source, f"{path}: --{name}"


@every_page
def test_source_paths_exist(page):
    for code in code_lines(page):
        if SOURCE_PATH.fullmatch(code) and "NAME" not in code:
            assert (ROOT / code).exists(), code
