"""The line at the bottom of a terminal, and what is written above it."""

import os
import sys

import pytest
from helpers.checkout import ROOT
from helpers.terminals import Seen, in_terminal

from parity.core.status_line import duration_text, has_terminal

SCRIPT = """
import itertools, os, subprocess, sys, time
from parity.core import status_line

status_line.PERIOD_S = 0.05
numbers = itertools.count()
with status_line.status_line(lambda: f"status {{next(numbers)}}"):
    {code}
"""


def shown(code: str, **options) -> Seen:
    """What a terminal shows of some code under a status line."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return in_terminal([sys.executable, "-c", SCRIPT.format(code=code)], environment, **options)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.9, "0 s"), (59.9, "59 s"), (252, "4 min 12 s"), (3599, "59 min 59 s"), (7384, "2 h 3 min")],
)
def test_a_duration_has_its_two_largest_units(seconds, text):
    assert duration_text(seconds) == text


def test_what_is_written_stays_whole_above_the_line():
    seen = shown(
        "print('one'); time.sleep(0.3); print('half', end='', flush=True); time.sleep(0.3); "
        "print(' of a line'); "
        "subprocess.run(['sh', '-c', 'echo from; sleep 0.3; echo a child >&2']); "
        "print('unfinished', end='')"
    )
    assert seen.code == 0
    assert seen.text == "one\nhalf of a line\nfrom\na child\nunfinished"
    assert len(seen.erased) > 3
    assert seen.erased == [f"status {number}" for number in range(len(seen.erased))]


def test_much_is_written_byte_for_byte():
    seen = shown("[print(number, 'x' * 97) for number in range(10_000)]")
    assert seen.text == "".join(f"{number} {'x' * 97}\n" for number in range(10_000))


def test_the_line_is_as_wide_as_the_terminal_and_nothing_is_left_of_it():
    seen = shown("time.sleep(0.3); print(os.get_terminal_size(2).columns)", columns=7)
    assert set(seen.erased) == {"status"} and seen.text == "7\n"


def test_a_pipe_gets_what_is_written_to_it_and_no_more():
    seen = shown("print('a result'); time.sleep(0.3)", piped=True)
    assert seen.stdout == b"a result\n"
    assert seen.erased and not seen.text


def test_an_exception_goes_through_and_is_seen():
    seen = shown("time.sleep(0.3); raise SystemExit('the reason')")
    assert seen.code == 1 and seen.text == "the reason\n"


def test_a_pipe_and_a_dumb_terminal_have_no_line(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(os, "isatty", lambda descriptor: True)
    assert has_terminal()
    monkeypatch.setenv("TERM", "dumb")
    assert not has_terminal()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(os, "isatty", lambda descriptor: False)
    assert not has_terminal()
