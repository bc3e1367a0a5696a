"""What the pictures of a test show."""

import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text


class Written:
    """The figure that was written last."""

    def __init__(self) -> None:
        self.figure = Figure()

    @property
    def texts(self) -> list[str]:
        """Every text in it, line breaks as spaces."""
        found = [one.get_text() for one in self.figure.findobj(Text) if one.get_visible()]
        return [text.replace("\n", " ") for text in found if text]

    @property
    def text(self) -> str:
        """All of it; the lines of the header follow one another."""
        return " ".join(self.texts)


@pytest.fixture
def written(monkeypatch) -> Written:
    last, save = Written(), Figure.savefig

    def record(figure: Figure, *args, **options) -> None:
        last.figure = figure
        save(figure, *args, **options)

    monkeypatch.setattr(Figure, "savefig", record)
    return last
