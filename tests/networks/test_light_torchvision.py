"""torchvision without PyTorch's compiler: it is faster to import, and nothing of it is missing."""

import subprocess
import sys

import pytest

SHOW = "import sys; print('torch._dynamo' in sys.modules)"


def output_of(code: str) -> list[str]:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()


@pytest.mark.process
@pytest.mark.parametrize("module", ["parity.networks.weights", "parity.coverage.zoo"])
def test_a_stage_that_only_computes_does_not_load_the_compiler(module):
    assert output_of(f"import {module}; {SHOW}") == ["False"]


@pytest.mark.process
def test_the_operator_that_asks_for_the_compiler_works():
    """With deterministic algorithms, RoIAlign on a GPU asks whether it can be compiled."""
    lines = output_of(
        "from parity.networks.light_torchvision import torchvision; import torch;"
        "ones = torch.ones(1, 1, 8, 8);"
        "print(torchvision.ops.roi_align(ones, torch.tensor([[0.0, 1, 1, 5, 5]]), 2).sum().item());"
        "from torchvision.ops.roi_align import is_compile_supported;"
        "print(is_compile_supported('cpu') is not None);"
        "import torch._dynamo.utils;"
        "print(torch._dynamo.utils.is_compile_supported is not is_compile_supported);"
        f"{SHOW}"
    )
    assert lines == ["4.0", "True", "True", "True"]


@pytest.mark.process
def test_a_compiler_that_is_loaded_stays():
    lines = output_of(
        "import torch._dynamo.utils as compiler; import parity.networks.light_torchvision;"
        "from torchvision.ops import roi_align; import sys;"
        "print(sys.modules['torch._dynamo.utils'] is compiler)"
    )
    assert lines == ["True"]
