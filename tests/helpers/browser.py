"""Debian's Chromium on a page of the project, and what it asked for and complained about."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

CHROMIUM = shutil.which("chromium")
needs_chromium = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium: `apt-get install chromium`"
)
OPTIONS = ["--no-sandbox", "--disable-gpu"]  # root has no sandbox


@dataclass
class Visit:
    """A page in a browser, with the addresses that it asked for and the errors that it logged."""

    page: object
    requests: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def open(self, path: Path, anchor: str = "") -> None:
        self.page.goto(path.absolute().as_uri() + anchor)

    def shows(self, script: str) -> object:
        """The value of an expression in the page."""
        return self.page.evaluate(script)


@contextmanager
def browser() -> Iterator[object]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        yield started
        started.close()


@contextmanager
def visit(started: object, width: int = 1280, **options: object) -> Iterator[Visit]:
    """Open an empty page of a size; `options` are those of Playwright's contexts."""
    context = started.new_context(viewport={"width": width, "height": 900}, **options)
    found = Visit(context.new_page())
    found.page.set_default_timeout(60_000)
    found.page.on("request", lambda one: found.requests.append(one.url))
    found.page.on("pageerror", lambda one: found.errors.append(str(one)))
    found.page.on(
        "console", lambda one: found.errors.append(one.text) if one.type == "error" else None
    )
    yield found
    context.close()


def violations(found: Visit) -> list[str]:
    """The rules of axe-core that a page breaks, each with its first element."""
    import axe_playwright_python

    script = Path(axe_playwright_python.__file__).with_name("axe.min.js")
    # By the debugger's way, as the page's policy allows no other script.
    found.page.evaluate(script.read_text(encoding="utf-8"))
    result = found.page.evaluate("axe.run()")
    return [f"{one['id']}: {one['nodes'][0]['html'][:200]}" for one in result["violations"]]
