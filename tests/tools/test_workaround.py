from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from helpers.faulty import parse
from helpers.params import write_params
from helpers.refusals import refused

from parity.core.params import load_params, of_model
from parity.faults import candidates, workaround
from parity.faults.candidates import EXPORTER_CHANGE
from parity.faults.workaround import Outcome
from tools import workaround as workaround_tool

pytestmark = pytest.mark.process

MODEL = "squeezenet1_1"


@pytest.fixture
def tried(capsys):
    """Run the command; returns its exit code and stdout."""

    def call(*args: object) -> tuple[int, str]:
        code = 0
        try:
            workaround_tool.main([str(one) for one in args])
        except SystemExit as ended:
            code = ended.code
        return code, capsys.readouterr().out

    return call


def cells(text: str) -> list[list[str]]:
    """Return the rows of the table."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines[2:]]


def test_a_model_that_passes_needs_no_workaround(converted, tried):
    code, text = tried(MODEL)
    assert code == 0 and "passes unchanged, no workaround is needed" in text
    assert [row[0] for row in cells(text)] == ["unchanged"]


def test_the_other_exporter_works_for_mobilenet(mobilenet_by_dynamo, tried, one_rewrite):
    before = (mobilenet_by_dynamo / "models/mobilenet_v3_small/model.onnx").read_bytes()
    code, text = tried("mobilenet_v3_small")
    rows = cells(text)
    assert code == 0 and rows[0][:2] == ["exporter torchscript", "passes, not lasting"]
    results = {row[0]: row[1] for row in rows}
    assert results["exporter torchscript, engine classic"] == "passes, not lasting"
    for change in ("unchanged", "engine classic", "onnxruntime's basic optimisation"):
        assert results[change].startswith("rel ") and "limit 0.0001" in results[change]
    assert "the smallest change that works: exporter torchscript, " in text
    assert "`models.mobilenet_v3_small.export.exporter: torchscript` in params.yaml" in text
    assert "not lasting: PyTorch has deprecated the exporter torchscript\n" in text
    assert (mobilenet_by_dynamo / "models/mobilenet_v3_small/model.onnx").read_bytes() == before


PASSES = Outcome("change", "1 MB", "auto", EXPORTER_CHANGE, "do it", ms=1)
EXPORT = {"export": {"dynamic_axes": []}, "inference": {"batch_size": 1}}


@pytest.fixture
def outcomes(monkeypatch) -> list[Outcome]:
    """What trying the model finds, in place of trying."""
    found = []
    monkeypatch.setattr(workaround_tool, "try_model", lambda *_: found)
    return found


def test_what_works_is_applied_to_this_model_alone(converted, tried, outcomes):
    outcomes += [replace(PASSES, settings=None), replace(PASSES, settings=EXPORT)]
    before = load_params()
    code, text = tried(MODEL, "--apply")
    written = f"models.{MODEL}.export.dynamic_axes: [], models.{MODEL}.inference.batch_size: 1"
    assert code == 0 and f"params.yaml: written: {written}; `make` runs" in text
    after = load_params()
    assert after.model_copy(update={"models": before.models}) == before
    mine = of_model(after, MODEL)
    assert mine.export.dynamic_axes.classification == []
    assert mine.inference.batch_size.classification == 1


def test_what_no_setting_makes_is_not_applied(converted, tried, outcomes):
    before = Path("params.yaml").read_bytes()
    outcomes.append(replace(PASSES, settings=None))
    code, text = tried(MODEL, "--apply")
    assert code == 1 and "nothing written: no setting makes a change that works" in text
    outcomes[:] = [replace(PASSES, change="unchanged", change_size=0, settings={})]
    code, text = tried(MODEL, "--apply")
    assert code == 0 and "no workaround is needed" in text
    outcomes[:] = [replace(PASSES, failure="refused", settings=EXPORT)]
    code, text = tried(MODEL, "--apply")
    assert code == 1 and "none of these changes works" in text
    assert Path("params.yaml").read_bytes() == before


def test_where_nothing_works_the_exit_code_is_1(mobilenet_by_dynamo, tried, one_rewrite):
    """A model that is an ONNX file from the start has no weights to export again."""
    entry = {"task": "classification", "preprocess": "imagenet", "onnx": "mine.onnx"}
    write_params(mobilenet_by_dynamo, {"models": {"mobilenet_v3_small": entry}})
    code, text = tried("mobilenet_v3_small")
    assert code == 1 and "none of these changes works" in text
    assert "exporter" not in text and "onnxruntime's basic optimisation" in text


@pytest.fixture
def of_any_size(prepared, monkeypatch) -> Path:
    """A project with images of different sizes, and a segmentation model that the classic engine,
    the only one here, reads only with a fixed input size."""
    weights = np.random.default_rng(0).standard_normal((8, 3, 1, 1)).astype(np.float32)
    model = parse(
        "features = Conv (input, weights) sizes = Shape (features)"
        "small = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (features)"
        'output = Resize <mode = "linear", coordinate_transformation_mode = "half_pixel">'
        "(small, , , sizes)",
        "float[N, 3, H, W] input",
        "float[N, 8, H, W] output",
        weights=weights,
    )
    path = prepared / "models/mine/model.onnx"
    path.parent.mkdir(parents=True)
    onnx.save(model, path)
    entry = {"task": "segmentation", "preprocess": "voc", "onnx": "mine.onnx"}
    write_params(prepared, {"models": {"mine": entry}, "opencv.engine": "classic"})
    monkeypatch.setattr(workaround, "engines", lambda: ["classic"])
    return prepared


def test_a_fixed_size_is_tried_on_images_cropped_to_their_common_size(
    of_any_size, tried, monkeypatch
):
    monkeypatch.setattr(candidates, "REWRITES", {"fixed": candidates.fix_size})
    images = [np.load(path) for path in Path("data/preprocessed/voc/val/images").iterdir()]
    assert len({image.shape for image in images}) > 1
    code, text = tried("mine")
    rows = cells(text)
    assert code == 0 and rows[0][:2] == ["fixed input size, basic optimisation", "passes"]
    assert rows[1][:2] == ["unchanged", "refused: Node [Shape@ai.onnx]: !isDynamicShape"]
    assert rows[1][4:] == ["-"] * 3
    height, width = (min(image.shape[axis] for image in images) for axis in (0, 1))
    assert f", which only accepts inputs of shape (1, 3, {height}, {width})" in text

    workaround_tool.main(["mine", "--write", "fixed", "--output", "mine-fixed.onnx"])
    (value,) = onnx.load("mine-fixed.onnx").graph.input
    assert [one.dim_value for one in value.type.tensor_type.shape.dim] == [1, 3, height, width]


def test_a_file_of_one_size_is_tried_on_the_images_that_have_it(of_any_size, tried):
    path, any_size = Path("models/mine/model.onnx"), Path("any.onnx")
    path.rename(any_size)
    images = sorted(Path("data/preprocessed/voc/val/images").iterdir())[: workaround.IMAGES]
    shapes = [np.load(image).shape for image in images]
    candidates.fix_size(any_size, any_size, (1, 3, *shapes[0][:2]))
    candidates.optimize_basic(any_size, path, ())
    code, text = tried("mine")
    assert code == 0 and "passes unchanged" in text
    assert 0 < shapes.count(shapes[0]) < len(shapes)
    candidates.fix_size(path, path, (1, 3, 7, 7))
    with refused(f"{path}: none of the first 8 images has the size of its input"):
        workaround_tool.main(["mine"])


def test_a_rewritten_file_is_written_where_asked(converted, capsys):
    workaround_tool.main([MODEL, "--write", "basic", "--output", "basic.onnx"])
    onnx.checker.check_model("basic.onnx", full_check=True)
    captured = capsys.readouterr()
    assert captured.err.splitlines()[-1].startswith("basic.onnx: onnxruntime's basic optimisation")


def test_a_file_of_the_users_is_not_written_over(converted):
    arguments = [MODEL, "--write", "basic", "--output", "basic.onnx"]
    Path("basic.onnx").write_bytes(b"mine")
    with refused("basic.onnx: exists and would be replaced"):
        workaround_tool.main(arguments)
    assert Path("basic.onnx").read_bytes() == b"mine"
    Path("basic.onnx").unlink()
    Path(".dvc").mkdir()
    for _ in range(2):  # over its own
        workaround_tool.main(arguments)


def test_wrong_arguments_are_refused(converted):
    with refused("models.none: no such entry"):
        workaround_tool.main(["none"])
    with refused("expected both of --write and --output"):
        workaround_tool.main([MODEL, "--write", "basic"])
    with refused("expected one of --write and --apply"):
        workaround_tool.main([MODEL, "--write", "basic", "--output", "a.onnx", "--apply"])
    (converted / f"models/{MODEL}/model.onnx").unlink()
    with refused(f"models/{MODEL}/model.onnx: no such file; `make` writes it"):
        workaround_tool.main([MODEL])
