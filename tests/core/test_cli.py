import subprocess
import sys

import pytest
from helpers.checkout import ROOT

from parity.core.cli import InputError, log, run

FULL = "no space left on device; free some space, then run it again; earlier files are untouched"


def raising(error: BaseException):
    def main() -> None:
        raise error

    return main


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (InputError("params.yaml: seed: missing"), 2, "error: params.yaml: seed: missing\n"),
        (
            FileNotFoundError(2, "No such file or directory", "a.npy"),
            2,
            "error: a.npy: no such file; `make` writes it\n",
        ),
        (KeyboardInterrupt(), 130, "interrupted\n"),
        (SystemExit(1), 1, ""),
    ],
)
def test_how_main_ends_is_the_exit_code_and_one_line(capsys, error, code, message):
    with pytest.raises(SystemExit) as caught:
        run(raising(error))
    assert caught.value.code == code
    assert capsys.readouterr() == ("", message)


@pytest.mark.parametrize(
    ("message", "line"),
    [
        (
            "a\nb\0c\x1b[31m\x85\u2028d.png: no such file",
            r"a\nb\x00c\x1b[31m\x85\u2028d.png: no such file",
        ),
        ("caf\udce9.png: no such file", r"caf\udce9.png: no such file"),
        ("Zoë/日本.png: no such file", "Zoë/日本.png: no such file"),
        ("a" * 10_000 + ": no such file", "a" * 400 + " ... " + "a" * 386 + ": no such file"),
    ],
)
def test_a_message_is_one_printable_line(message, line):
    assert str(InputError(message)) == line


@pytest.mark.parametrize("error", [ZeroDivisionError("1 // 0"), OSError(22, "Invalid argument")])
def test_a_defect_keeps_its_traceback(error):
    with pytest.raises(type(error)):
        run(raising(error))


@pytest.mark.parametrize("unbuffered", ["", "-u"])
@pytest.mark.parametrize("main", ["lambda: print(1)", "lambda: (print(1), exit(0))"])
@pytest.mark.parametrize(
    ("to", "code", "message"),
    [("| true", 141, ""), ("> /dev/full", 2, f"error: {FULL}\n"), (">&-", 0, "")],
)
def test_a_full_disk_or_a_reader_that_has_left_is_no_traceback(unbuffered, main, to, code, message):
    script = f"import time; from parity.core.cli import run; time.sleep(0.1); run({main})"
    command = (
        f"set -o pipefail; env -u PYTHONUNBUFFERED {sys.executable} {unbuffered} -c '{script}'"
    )
    shell = ["bash", "-c", f"{command} {to}"]
    ended = subprocess.run(shell, cwd=ROOT, capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (code, message)


def test_progress_leaves_stdout_to_results(capsys):
    log("1 of 2")
    assert capsys.readouterr() == ("", "1 of 2\n")
