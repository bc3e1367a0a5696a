"""The picture of exactness."""

from dataclasses import replace

from helpers.results import EXACT, NO_EXACT_ANSWER, faithful, onnx_only, without

from parity.evaluation.pictures.exactness import draw_exactness
from parity.evaluation.results import ExactDistance, Exactness

NAN = ExactDistance(rel=None, rms=None)
NO_NUMBER = Exactness(8, None, EXACT.distances | {"opencv": NAN}, {"opencv": None})
ZERO = replace(EXACT, distances=EXACT.distances | {"pytorch": ExactDistance(0.0, 0.0)})


def test_all_kinds_of_models_share_the_picture(tmp_path):
    models = [
        faithful(),
        onnx_only(),
        without("opencv"),
        without("onnxruntime"),
        faithful(exact=NO_NUMBER),
        faithful(exact=ZERO),
        faithful(exact=NO_EXACT_ANSWER),
    ]
    draw_exactness(tmp_path / "all.png", models, dpi=50)
    draw_exactness(tmp_path / "none.png", models[-1:], dpi=50)
    for path in tmp_path.iterdir():
        assert path.stat().st_size > 2000
