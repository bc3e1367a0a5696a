import os

import pytest
from helpers.refusals import refused

from parity.core import resumable
from parity.core.machine import cores
from parity.core.resumable import check_writable, parse_jobs, run_jobs


def test_a_process_of_the_run_that_is_killed_is_one_line(tmp_path, monkeypatch):
    def die(*_):
        raise ChildProcessError("signal 9")

    monkeypatch.setattr(resumable, "in_processes", die)
    with refused("a process that measured has died: signal 9; the next run resumes there"):
        run_jobs(str, [], 2, tmp_path)


def test_a_file_of_the_run_that_is_gone_is_one_line(tmp_path):
    def lose(path):
        path.read_bytes()

    with refused(f"{tmp_path / 'gone'}: No such file or directory; the next run resumes there"):
        run_jobs(lose, [tmp_path / "gone"], 1, tmp_path)


def test_the_default_is_a_process_per_core():
    assert parse_jobs("") == cores() and parse_jobs("3") == 3


@pytest.mark.parametrize("text", ["0", "two", "-1"])
def test_what_is_no_number_of_processes_is_refused(text):
    with refused(f"JOBS: found {text!r}; expected an integer of at least 1"):
        parse_jobs(text)


def test_a_read_only_folder_cannot_be_written(tmp_path):
    tmp_path.chmod(0o555)
    is_root = not os.geteuid()
    try:
        if is_root:
            os.seteuid(65534)
        with refused(f"{tmp_path}: cannot be written: Permission denied"):
            check_writable(tmp_path)
    finally:
        if is_root:
            os.seteuid(0)
        tmp_path.chmod(0o755)
