from pathlib import Path

import numpy as np
import onnx
import pytest
from helpers.params import SMALL, write_params
from helpers.refusals import refused

from parity.backends.contract import BackendFailure
from parity.backends.onnxruntime import load_onnxruntime
from parity.core.params import BackendParams, load_params
from parity.faults import workaround
from parity.faults.workaround import Outcome, rewritten, short_reason, try_file
from tools import reproducer
from tools import workaround as workaround_tool

MODEL = "squeezenet1_1"


@pytest.fixture
def tried(capsys):
    """Run the command; its exit code and what it printed."""

    def call(*args: object) -> tuple[int, str]:
        with pytest.raises(SystemExit) as ended:
            workaround_tool.main([str(one) for one in args])
        return ended.value.code, capsys.readouterr().out

    return call


def parse(body: str, output: str) -> onnx.ModelProto:
    return onnx.parser.parse_model(
        '<ir_version: 9, opset_import: ["" : 18]>'
        f"graph (float[N, 2, H, W] input) => ({output}) {{ {body} }}"
    )


def try_graph(folder: Path, body: str, output: str, engine: str) -> list[Outcome]:
    path = folder / "given.onnx"
    onnx.save(parse(body, output), str(path))
    blob = np.random.default_rng(0).standard_normal((1, 2, 8, 8)).astype(np.float32)
    opencv = reproducer.OPENCV.model_copy(update={"engine": engine})
    return try_file(path, blob, opencv, reproducer.LIMITS, BackendParams(threads=0))


def test_a_model_that_passes_needs_no_workaround(converted, tried):
    code, text = tried(MODEL)
    assert code == 0 and "passes as it is, no workaround is needed" in text
    assert [line.split("|")[1].strip() for line in text.splitlines()[2:3]] == ["as it is"]


def test_the_other_exporter_mends_mobilenet(mobilenet_by_dynamo, tried, one_rewrite):
    before = (mobilenet_by_dynamo / "models/mobilenet_v3_small/model.onnx").read_bytes()
    code, text = tried("mobilenet_v3_small")
    rows = [[cell.strip() for cell in line.split("|")[1:]] for line in text.splitlines()[2:]]
    assert code == 0 and rows[0][:2] == ["exporter torchscript", "passes"]
    results = {row[0]: row[1] for row in rows if len(row) > 1}
    assert results["exporter torchscript, engine classic"] == "passes"
    for change in ("as it is", "engine classic", "onnxruntime's basic optimisation"):
        assert results[change].startswith("rel ") and "limit 0.0001" in results[change]
    assert "`export.exporter: torchscript` in params.yaml" in text
    assert (mobilenet_by_dynamo / "models/mobilenet_v3_small/model.onnx").read_bytes() == before


def test_where_nothing_passes_the_exit_code_says_so(mobilenet_by_dynamo, tried, one_rewrite):
    """Of a model that is an ONNX file there are no weights that could be exported again."""
    entry = {"task": "classification", "preprocess": "imagenet", "onnx": "mine.onnx"}
    write_params(mobilenet_by_dynamo, {"models": {"mobilenet_v3_small": entry}})
    code, text = tried("mobilenet_v3_small")
    assert code == 1 and "none of these is a workaround" in text
    assert "exporter" not in text and "onnxruntime's basic optimisation" in text


def test_another_engine_is_the_cheapest(tmp_path, one_rewrite):
    outcomes = try_graph(tmp_path, "output = Unique (input)", "float[M] output", "classic")
    first = outcomes[0]
    assert first.passes and (first.change, first.engine) == ("engine new", "new")
    assert first.advice == "`opencv.engine: new` in params.yaml" and first.ms > 0
    as_it_is = next(one for one in outcomes if one.change == "as it is")
    assert not as_it_is.passes and as_it_is.failure.startswith("error: ")


@pytest.fixture
def of_any_size(prepared, monkeypatch) -> Path:
    """A project with a segmentation that the classic engine, the only one, reads of fixed size
    alone, and images of different sizes."""
    model = onnx.parser.parse_model(
        '<ir_version: 9, opset_import: ["" : 18]>'
        "graph (float[N, 3, H, W] input) => (float[N, 8, H, W] output) {"
        "features = Conv (input, weights) sizes = Shape (features)"
        "small = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (features)"
        'output = Resize <mode = "linear", coordinate_transformation_mode = "half_pixel">'
        "(small, , , sizes) }"
    )
    weights = np.random.default_rng(0).standard_normal((8, 3, 1, 1)).astype(np.float32)
    model.graph.initializer.append(onnx.numpy_helper.from_array(weights, "weights"))
    path = prepared / "models/mine/model.onnx"
    path.parent.mkdir(parents=True)
    onnx.save(model, str(path))
    entry = {"task": "segmentation", "preprocess": "voc", "onnx": "mine.onnx"}
    write_params(prepared, {"models": {"mine": entry}, "opencv.engine": "classic"})
    monkeypatch.setattr(workaround, "engines", lambda: ["classic"])
    return prepared


def test_a_fixed_size_is_tried_on_images_cut_to_their_common_one(of_any_size, tried, monkeypatch):
    rewrites = {"fixed": workaround.fixed_size}
    monkeypatch.setattr(workaround, "REWRITES", rewrites)
    images = [np.load(path) for path in Path("data/preprocessed/voc/val/images").iterdir()]
    assert len({image.shape for image in images}) > 1
    code, text = tried("mine")
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()[2:4]]
    assert code == 0 and rows[0][:2] == ["fixed input size, basic optimisation", "passes"]
    assert rows[1][:2] == ["as it is", "refused: Node [Shape@ai.onnx]: !isDynamicShape"]
    assert rows[1][4:] == ["-"] * 3
    height, width = (min(image.shape[axis] for image in images) for axis in (0, 1))
    assert f"whose input is then (1, 3, {height}, {width}) and no other" in text

    workaround_tool.main(["mine", "--write", "fixed", "--output", "mine-fixed.onnx"])
    (given,) = onnx.load("mine-fixed.onnx").graph.input
    assert [one.dim_value for one in given.type.tensor_type.shape.dim] == [1, 3, height, width]


def test_a_file_of_one_size_is_tried_on_the_images_that_have_it(of_any_size, tried):
    path, any_size = Path("models/mine/model.onnx"), Path("any.onnx")
    path.rename(any_size)
    images = sorted(Path("data/preprocessed/voc/val/images").iterdir())[: workaround.IMAGES]
    shapes = [np.load(image).shape for image in images]
    workaround.fixed_size(any_size, any_size, (1, 3, *shapes[0][:2]))
    workaround.basic_optimised(any_size, path, ())
    code, told = tried("mine")
    assert code == 0 and "passes as it is" in told
    assert 0 < shapes.count(shapes[0]) < len(shapes)
    workaround.fixed_size(path, path, (1, 3, 7, 7))
    with refused(f"{path}: none of the first 8 images has the size of its input"):
        workaround_tool.main(["mine"])


def test_an_export_of_fixed_sizes_is_tried_image_by_image(converted):
    params = load_params()
    now = params.export
    ways = workaround.exports(now, "classification")
    found = [(one.exporter, one.dynamic_axes.classification) for one in ways]
    other = "dynamo" if now.exporter == "torchscript" else "torchscript"
    assert found == [(other, ["batch"]), (now.exporter, []), (other, [])]
    model = params.models[MODEL]
    made = workaround.exported(MODEL, model, params, (2, 3, 64, 64), ways[1], converted)
    assert (
        made.shape == (1, 3, 64, 64) and made.label == f"exporter {now.exporter}, fixed input size"
    )
    axes = "`export.dynamic_axes.classification: []`"
    assert made.advice == f"{axes} in params.yaml, for images of one size"
    blobs = [np.random.default_rng(0).normal(size=(3, 3, 64, 64)).astype(np.float32)]
    whole = load_onnxruntime(Path(f"models/{MODEL}/model.onnx"), params.onnxruntime)
    case = workaround.Case(MODEL, whole, "ONNX Runtime", reproducer.LIMITS, blobs).cut(made.shape)
    assert [blob.shape for blob in case.blobs] == [made.shape] * 3
    assert workaround.attempt(case, made, params.opencv, None).passes


def test_a_failure_in_the_table_is_its_reason_and_short():
    said = (
        "a.onnx: OpenCV cannot read it: OpenCV(5.0.0) /io/modules/dnn/src/onnx/importer.cpp:1114: "
        "error: (-2:Unspecified error) in function 'handleNode' > Node [Shape@ai.onnx]:"
        "(onnx_node!node_Shape_0) parse error: OpenCV(5.0.0) /io/modules/dnn/src/other.cpp:2591: "
        "error: (-215:Assertion failed) !isDynamicShape in function 'parseShape' >"
    )
    reason = short_reason(BackendFailure("refused", said), Path("a.onnx"))
    assert reason == "Node [Shape@ai.onnx]: !isDynamicShape"
    row = Outcome("basic", "", "", 2, "", failure=f"cannot be made: {'x' * 99}").row()
    assert len(row[1]) == 60 and row[1].endswith("x...") and row[2:] == ["-"] * 5


@pytest.mark.parametrize("how", list(workaround.REWRITES))
def test_a_rewritten_file_computes_the_same(converted, how):
    workaround_tool.main([MODEL, "--write", how, "--output", f"{how}.onnx"])
    onnx.checker.check_model(f"{how}.onnx", full_check=True)
    blob = np.random.default_rng(0).standard_normal((4, 3, 64, 64)).astype(np.float32)
    ours, theirs = (
        load_onnxruntime(path, BackendParams(threads=1))(blob)
        for path in (Path(f"{how}.onnx"), converted / f"models/{MODEL}/model.onnx")
    )
    np.testing.assert_allclose(ours, theirs, atol=1e-5 * np.abs(theirs).max())


def test_what_cannot_be_rewritten_is_said(tmp_path):
    path = tmp_path / "broken.onnx"
    path.write_bytes(b"no model")
    shape = (1, 3, 8, 8)
    candidate = rewritten("basic", path, shape, tmp_path, None)
    assert candidate.path is None and candidate.failure.startswith("cannot be made: ")
    with refused("broken.onnx: onnxruntime's basic optimisation: cannot be made: "):
        workaround.write_rewritten("basic", path, shape, tmp_path / "out.onnx")
    assert not (tmp_path / "out.onnx").exists()


def test_an_exporter_that_refuses_is_said(converted, monkeypatch):
    """The other exporter of opset 11 writes another opset, or none at all."""
    monkeypatch.syspath_prepend(str(converted))
    (converted / "branching.py").write_text(BRANCHING)
    entry = {"task": "classification", "preprocess": "imagenet", "weights": "random"}
    entry |= {"factory": "branching:network"}
    write_params(converted, {"models": SMALL["models"] | {"mine": entry}})
    params = load_params()
    from stages import weights

    weights.main(["mine"])
    (other, *fixed) = workaround.exports(params.export, "classification")
    assert len(fixed) == 2
    entry, shape = params.models["mine"], (1, 3, 64, 64)
    candidate = workaround.exported("mine", entry, params, shape, other, converted)
    assert candidate.path is None and candidate.label == "exporter dynamo"
    assert "cannot be exported" in candidate.failure and "data-dependent" in candidate.failure


BRANCHING = """
from torch import nn

class Branching(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 10)

    def forward(self, blob):
        return self.linear(blob.mean((2, 3)) if blob.sum() > 0 else blob.amax((2, 3)))

def network():
    return Branching()
"""


def test_wrong_arguments_are_refused(converted):
    with refused("models.none: no such entry"):
        workaround_tool.main(["none"])
    with refused("expected both of --write and --output"):
        workaround_tool.main([MODEL, "--write", "basic"])
    (converted / f"models/{MODEL}/model.onnx").unlink()
    with refused(f"models/{MODEL}/model.onnx: no such file; `make` writes it"):
        workaround_tool.main([MODEL])
