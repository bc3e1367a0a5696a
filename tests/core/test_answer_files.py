from pathlib import Path

from parity.core.answer_files import AnswerFiles


def test_the_files_keep_their_names_in_another_folder():
    files = AnswerFiles(Path("metrics/a.json"), Path("A.md"), Path("plots/a.png"))
    assert str(files.inside(Path("x"))) == "x/A.md, x/a.json, x/a.png"
