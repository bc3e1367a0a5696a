"""Run a tool's command line in this process."""

import json
from collections.abc import Callable
from dataclasses import dataclass

import pytest


@dataclass
class Run:
    """How a command ended: its exit code, and stdout."""

    code: int
    text: str

    @property
    def result(self) -> dict:
        """The last line on stdout, as JSON."""
        return json.loads(self.text.splitlines()[-1])


def run_main(
    main: Callable[[list[str]], None], args: tuple[object, ...], capsys: pytest.CaptureFixture
) -> Run:
    """Call the `main` of a tool with these arguments."""
    code = 0
    try:
        main([str(one) for one in args])
    except SystemExit as ended:
        code = ended.code
    return Run(code, capsys.readouterr().out)
