"""The measurement of the yardstick on torchvision's models."""

import pytest
import torch
from helpers.params import write_params
from helpers.refusals import refused

from tools import exactness


@pytest.fixture(autouse=True)
def threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.process
def test_a_model_has_a_row_for_each_exporter(project, capsys):
    write_params(project, {"export.opset": 20})
    exactness.main(["squeezenet1_1", "--images=1"])
    header, _, *rows = capsys.readouterr().out.splitlines()
    names = [cell.strip() for cell in header.split("|")[1:-1]]
    found = [[cell.strip() for cell in row.split("|")[1:-1]] for row in rows]
    cells = [dict(zip(names, row, strict=True)) for row in found]
    assert [(row["model"], row["exporter"]) for row in cells] == [
        ("squeezenet1_1", "dynamo"),
        ("squeezenet1_1", "torchscript"),
    ]
    for row in cells:
        assert float(row["file"]) < 1e-12, "the evaluator gives PyTorch's float64"
        assert 0.9 < float(row["factor"]) < 1.1
        assert 0 < float(row["classic"]) < 20 and 0 < float(row["new"]) < 20


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["squeezenet"], "squeezenet: not one of the models that `make coverage` tries"),
        (["squeezenet1_1", "--images=0"], "--images: found 0; expected at least 1"),
    ],
)
def test_wrong_arguments_are_refused(project, arguments, message):
    with refused(message):
        exactness.main(arguments)
