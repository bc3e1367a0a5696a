"""A script that calls the user's code: how it ends, whatever that code does to its process."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from helpers.checkout import ROOT

from parity.core import fingerprints
from parity.core.fingerprints import fingerprint

OURS = "models.mine.factory: nets:build"
SCRIPT = f"""
import ctypes, os, signal, subprocess, sys, time
from parity.core.cli import InputError
from parity.core.user_code import name_user_code, run

def late():
    time.sleep(0.3)
    print("late")

def main():
    name_user_code({OURS!r})
    {{code}}

run(main)
"""


@pytest.fixture(autouse=True)
def package(tmp_path, monkeypatch) -> None:
    """A package of scripts, as `stages` and `tools` are, in the current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    Path("scripts").mkdir()
    shutil.copy(ROOT / "stages/__init__.py", "scripts")


def command(code: str) -> list[str]:
    Path("scripts/it.py").write_text(SCRIPT.format(code=code), encoding="utf-8")
    return [sys.executable, "-m", "scripts.it"]


def started(code: str, **options) -> subprocess.Popen:
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command(code), **(pipes | options))


def ended(code: str) -> tuple[int, str, str]:
    process = started(code)
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


@pytest.mark.parametrize(
    "code",
    [
        "sys.exit(0)",
        "sys.exit()",
        "raise SystemExit(None)",
        "os._exit(0)",
        "ctypes.CDLL(None)._exit(0)",
        "ctypes.CDLL(None).exit(0)",
        "ctypes.CDLL(None).quick_exit(0)",
        "os.execv('/bin/true', ['true'])",
        "os.fork() and os._exit(0)",
        "print('half', flush=True); os._exit(0)",
        "__import__('threading').Thread(target=os._exit, args=(0,)).start(); time.sleep(9)",
        "signal.signal(signal.SIGTERM, lambda *_: os._exit(0)); os.kill(os.getpid(), 15)",
    ],
)
def test_an_exit_code_of_0_before_the_end_is_no_success(code):
    status, _, err = ended(code)
    message = "its code ended the process with exit code 0; expected it to return"
    assert (status, err) == (2, f"error: {OURS}: {message}\n")


@pytest.mark.parametrize("number", [1, 3, 255])
def test_no_other_exit_code_of_the_users_passes_for_ours(number):
    status, _, err = ended(f"os._exit({number})")
    assert status == 2 and f"{OURS}: its code ended the process with exit code {number};" in err


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("print(1)", (0, "1\n", "")),
        ("print(1); sys.exit(1)", (1, "1\n", "")),
        ("raise InputError('a: b')", (2, "", "error: a: b\n")),
        ("raise KeyboardInterrupt", (130, "", "interrupted\n")),
        ("print(input())", (0, "typed\n", "")),
        ("os.fork() or time.sleep(0.2) or os._exit(0); os.wait()", (0, "", "")),
        ("__import__('atexit').register(os._exit, 0)", (0, "", "")),
        ("__import__('atexit').register(print, 'bye')", (0, "bye\n", "")),
        ("ctypes.CDLL(None).printf(b'from C')", (0, "from C", "")),
        ("__import__('threading').Thread(target=late).start()", (0, "late\n", "")),
        (
            "__import__('concurrent.futures').futures.ThreadPoolExecutor().submit(late)",
            (0, "late\n", ""),
        ),
    ],
)
def test_an_end_of_our_own_is_passed_on(code, expected):
    process = started(code, stdin=subprocess.PIPE)
    out, err = process.communicate("typed\n", timeout=60)
    assert (process.returncode, out, err) == expected


def test_python_takes_nothing_apart_at_the_end_but_writes_open_files():
    """Taking PyTorch apart takes a second."""
    noisy = "type('Noisy', (), {'__del__': lambda self: os.write(1, b'torn')})()"
    files = "open('text', 'w'), open('binary', 'wb')"
    code = f"global KEPT; KEPT = {noisy}, {files}; KEPT[1].write('a'); KEPT[2].write(b'b')"
    assert ended(code) == (0, "", "")
    assert (Path("text").read_text(), Path("binary").read_bytes()) == ("a", b"b")


def test_ctrl_c_ends_the_wait_for_a_thread():
    thread = "__import__('threading').Thread(target=time.sleep, args=(60,))"
    process = started(f"{thread}.start(); print(1, flush=True)", start_new_session=True)
    assert process.stdout.readline() == "1\n"
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=30) == ("", "interrupted\n")
    assert process.returncode == 130


def test_a_defect_keeps_its_traceback():
    status, _, err = ended("1 // 0")
    assert status == 1 and err.endswith("ZeroDivisionError: integer division or modulo by zero\n")


def test_before_any_of_the_users_code_a_script_ends_as_it_likes():
    """`--help` ends by `sys.exit(0)`."""
    command("")
    script = Path("scripts/it.py").read_text(encoding="utf-8")
    for call in ("sys.exit(0)", "os._exit(0)", "print()"):
        text = script.replace(f"name_user_code({OURS!r})", call)
        Path("scripts/it.py").write_text(text, encoding="utf-8")
        assert subprocess.run([sys.executable, "-m", "scripts.it"]).returncode == 0


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM])
def test_a_signal_that_ends_the_script_ends_its_process(number):
    assert ended(f"os.kill(os.getpid(), {int(number)})")[0] == -number


def test_a_reader_of_stdout_that_has_left_is_141():
    words = " ".join(command("time.sleep(0.2); print(1)"))
    shell = ["bash", "-c", f"set -o pipefail; {words} | true"]
    done = subprocess.run(shell, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (141, "")


# Signals from outside

SLOWLY = """
    try:
        open(sys.stdin.readline().strip(), "w").close()
        time.sleep(60)
    finally:
        time.sleep({cleanup})
        print("cleaned", flush=True)
"""


def running(folder: Path, cleanup: float = 0.3) -> tuple[subprocess.Popen, psutil.Process]:
    """The process of a script, and that in which its `main` sleeps."""
    began = folder / "began"
    code = SLOWLY.format(cleanup=cleanup).strip()
    process = started(code, stdin=subprocess.PIPE, start_new_session=True)
    process.stdin.write(f"{began}\n")
    process.stdin.flush()
    deadline = time.monotonic() + 60
    while not began.exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    (child,) = psutil.Process(process.pid).children()
    return process, child


@pytest.mark.parametrize("whole_group", [True, False], ids=["ctrl-c", "one process"])
@pytest.mark.parametrize("cleanup", [0.1, 2])
def test_ctrl_c_interrupts_once_and_lets_the_script_clean_up(tmp_path, whole_group, cleanup):
    process, child = running(tmp_path, cleanup)
    if whole_group:
        os.killpg(process.pid, signal.SIGINT)
    else:
        process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=30) == ("cleaned\n", "interrupted\n")
    assert process.returncode == 130 and not child.is_running()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGHUP])
@pytest.mark.parametrize("which", ["first", "second", "both"])
def test_a_signal_for_one_of_the_processes_ends_both(tmp_path, number, which):
    process, child = running(tmp_path)
    if which == "both":
        os.killpg(process.pid, number)
    else:
        os.kill(process.pid if which == "first" else child.pid, number)
    assert process.wait(30) == -number
    assert not psutil.wait_procs([child], 10)[1]
    process.communicate()


# Who needs it

FACTORY = "parity.networks.factory:import_factory"
# Two read ONNX files alone; the others build networks in processes of their own, or torchvision's.
NO_NETWORK_OF_A_USER = {
    "tools.cause_reproducers",
    "tools.check",
    "tools.coverage",
    "tools.exactness",
}
SCRIPTS = [
    f"{path.parent.name}.{path.stem}"
    for folder in ("stages", "tools")
    for path in sorted((ROOT / folder).glob("*.py"))
]


def test_every_script_that_can_reach_a_factory_runs_so(monkeypatch):
    monkeypatch.setattr(fingerprints, "PACKAGES", ("parity", "stages", "tools"))
    reached = {name: fingerprint(name)["code"] for name in SCRIPTS if "__" not in name}
    calling = {name for name, code in reached.items() if FACTORY in code} - NO_NETWORK_OF_A_USER
    guarded = {name for name, code in reached.items() if "parity.core.user_code:run" in code}
    assert {"stages.check_params", "stages.weights", "tools.demo"} <= calling
    assert guarded == calling
