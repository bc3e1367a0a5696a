import pytest

from parity.core.cli import InputError, log, run


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


def test_a_defect_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError):
        run(lambda: 1 // 0)


def test_progress_leaves_stdout_to_results(capsys):
    log("1 of 2")
    assert capsys.readouterr() == ("", "1 of 2\n")
