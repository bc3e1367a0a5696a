"""Editing params.yaml: what is set, and that every other line stays."""

from pathlib import Path

import pytest
from helpers.checkout import ROOT
from helpers.refusals import refused

from parity.core.params import load_params
from parity.core.params_file import read_editable, set_keys, write_edited

COMMENTED = """\
models:
  # the first
  resnet50:   # the best
    task: classification
    weights: 'probe'   # mine

  # of others
  vgg11:
    task: classification
    axes:
    - batch
    - height  # gone with the list

  # with its own
  vgg13:
    export:
      exporter: dynamo   # why
      # until then
    weights: probe
  alexnet: {task: classification, weights: probe}
  # the last
  vgg16:
    arguments:
      width: 8  # wide
    # indented
plot:
  dpi: 1
# the end
"""


@pytest.fixture
def edited(tmp_path, monkeypatch):
    """Set keys in a params.yaml whose content is of no matter; returns its text."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("parity.core.params_file.load_params", lambda path: None)
    Path("params.yaml").write_text(COMMENTED)

    def edit(values: dict[str, object]) -> str:
        content = read_editable()
        set_keys(content, values)
        write_edited(content)
        return Path("params.yaml").read_text()

    return edit


def test_to_set_nothing_changes_no_byte(edited):
    assert edited({}) == COMMENTED


@pytest.mark.parametrize(
    ("values", "old", "new"),
    [
        (
            {"models.resnet50.export.exporter": "dynamo", "models.resnet50.opencv.engine": "new"},
            "# mine\n",
            "# mine\n    export:\n      exporter: dynamo\n    opencv:\n      engine: new\n",
        ),
        (
            {"models.vgg11.axes": []},
            "axes:\n    - batch\n    - height  # gone with the list\n",
            "axes: []\n",
        ),
        (
            {"models.vgg11.axes": ["batch"]},
            "    - height  # gone with the list\n",
            "",
        ),
        (
            {"models.vgg13.export.exporter": "x", "models.vgg13.export.opset": 18},
            "exporter: dynamo   # why\n",
            "exporter: x        # why\n      opset: 18\n",
        ),
        (
            {"models.alexnet.export.opset": 18},
            "weights: probe}",
            "weights: probe, export: {opset: 18}}",
        ),
        (
            {"models.vgg16.inference.batch_size": 1},
            "width: 8  # wide\n",
            "width: 8  # wide\n    inference:\n      batch_size: 1\n",
        ),
        ({"plot.gallery": 2}, "dpi: 1\n", "dpi: 1\n  gallery: 2\n"),
        (
            {"models.vgg19": {"task": "classification"}},
            "    # indented\n",
            "  vgg19:\n    task: classification\n    # indented\n",
        ),
    ],
)
def test_every_other_line_stays(edited, values, old, new):
    assert COMMENTED.count(old) == 1
    assert edited(values) == COMMENTED.replace(old, new)


def test_an_invalid_value_leaves_the_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    Path("params.yaml").write_text(text, encoding="utf-8")
    content = read_editable()
    set_keys(content, {"models.resnet50.opencv.engine": 5})
    with refused("params.yaml: models.resnet50.opencv.engine: found 5; expected string"):
        write_edited(content)
    assert Path("params.yaml").read_text(encoding="utf-8") == text
    set_keys(content, {"models.resnet50.opencv.engine": "new"})
    write_edited(content)
    assert load_params().models["resnet50"].opencv.engine == "new"
