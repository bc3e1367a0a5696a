import cv2
import numpy as np
from helpers.coverage import made_record

from parity.coverage.cell_verdict import VERDICTS
from parity.coverage.heat_map import COLORS, cell_text, draw


def test_every_verdict_has_a_colour_of_its_own():
    assert COLORS.keys() == VERDICTS.keys() and len(set(COLORS.values())) == len(COLORS)


def test_the_picture_shows_the_verdicts_in_their_colours(tmp_path):
    column = "dynamo 18, new 5.0.0"
    record = made_record({"a": {column: "same"}, "b": {column: "different"}})
    draw(tmp_path / "map.png", record, dpi=50)
    pixels = cv2.imread(str(tmp_path / "map.png"))[..., ::-1].reshape(-1, 3)
    for verdict in ("same", "different", "refused", "crashed"):
        rgb = [int(COLORS[verdict][place : place + 2], 16) for place in (1, 3, 5)]
        shown = np.any(np.all(pixels == rgb, axis=1))
        assert shown == (verdict in ("same", "different"))


def test_a_cell_shows_the_difference_where_there_are_outputs_to_compare():
    cell = {"verdict": "same", "rel": 1.23e-6, "fixed": False}
    assert cell_text(cell) == "1.2e-06"
    assert cell_text(cell | {"fixed": True}) == "1.2e-06 fixed"
    assert cell_text(cell | {"verdict": "different", "rel": None}) == "different"
    assert cell_text(cell | {"verdict": "refused"}) == "refused"


def test_a_cell_that_is_not_right_says_so_in_words():
    """A small difference by itself would read as a pass."""
    for verdict in set(VERDICTS) - {"same"}:
        text = cell_text({"verdict": verdict, "rel": 1.4e-5, "fixed": False})
        assert text.startswith(verdict)
    assert cell_text({"verdict": "unstable", "rel": 1.4e-5, "fixed": False}) == "unstable 1.4e-05"
