import cv2
import numpy as np
from helpers.operators import NEW, finding, made_record

from parity.operators.picture import COLORS, draw
from parity.operators.verdicts import VERDICTS


def test_every_verdict_has_a_colour_of_its_own():
    assert tuple(COLORS) == VERDICTS and len(set(COLORS.values())) == len(VERDICTS)


def test_the_picture_shows_the_verdicts_in_their_colours(tmp_path):
    draw(tmp_path / "a.png", made_record(finding(NEW, "crashed")), dpi=50)
    pixels = cv2.imread(str(tmp_path / "a.png"))[..., ::-1].reshape(-1, 3)
    for verdict in ("right", "crashed", "different", "hangs"):
        rgb = [int(COLORS[verdict][place : place + 2], 16) for place in (1, 3, 5)]
        shown = np.any(np.all(pixels == rgb, axis=1))
        assert shown == (verdict in ("right", "crashed"))


def test_a_record_without_a_fault_has_a_picture_too(tmp_path):
    draw(tmp_path / "a.png", made_record(), dpi=50)
    assert (tmp_path / "a.png").exists()
