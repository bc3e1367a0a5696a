import pytest
import torch
from helpers.faulty import network, node_of

from parity.graphs.graph import load_model
from parity.graphs.provenance import describe_node, source_module

MODEL = network()


def test_a_node_is_described_by_its_inputs_and_attributes():
    text = describe_node(node_of(MODEL, "pool"), {"clip_out": (1, 8, 16, 16)})
    assert (text.name, text.op_type) == ("pool", "AveragePool")
    assert text.inputs == [("clip_out", (1, 8, 16, 16))]
    assert text.attributes == {
        "count_include_pad": "0",
        "kernel_shape": "[3, 3]",
        "pads": "[1, 1, 1, 1]",
    }
    assert text.module is None
    assert describe_node(node_of(MODEL, "resize"), {}).attributes["mode"] == "linear"


class Block(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 3, 1)
        self.rest = torch.nn.Sequential(torch.nn.ReLU(), torch.nn.Conv2d(3, 3, 1))

    def forward(self, x):
        return self.rest(self.conv(x)) + x


@pytest.mark.parametrize("dynamo", [True, False])
@pytest.mark.filterwarnings("ignore")
def test_the_module_of_a_node_is_read_from_what_either_exporter_wrote(tmp_path, dynamo):
    blocks = torch.nn.Sequential(Block(), Block()).eval()
    path = tmp_path / "a.onnx"
    torch.onnx.export(blocks, (torch.zeros(1, 3, 4, 4),), str(path), dynamo=dynamo, verbose=False)
    found = [source_module(node) for node in load_model(path).graph.node]
    expected = [f"{block}.{part}" for block in "01" for part in ("conv", "rest.0", "rest.1")]
    expected[3:3], expected[7:] = ["0"], ["1"]
    assert [module for module, _ in found] == expected
    if dynamo:
        assert found[1][1] == "torch.nn.modules.activation.ReLU"
