"""Factories that return no usable network."""

import pytest
from helpers.params import model_entry
from helpers.refusals import refused

from parity.networks.factory import build_from_factory

MODULE = """
import torch
from torch import nn

def deep(): return fails()
def fails(): raise RuntimeError("no\\nnetwork")
def exits(): raise SystemExit(0)
def needs(depth): return nn.Linear(1, 1)
def nothing(): pass
def a_class(): return nn.Linear
def a_function(): return lambda blob: blob
def lazy(): return nn.Sequential(nn.LazyLinear(3))
def meta(): return nn.Linear(1, 1, device="meta")
def complex_numbers(): return nn.Linear(1, 1).to(torch.complex64)
def extra():
    class Extra(nn.Linear):
        def get_extra_state(self): return {"a": 1}
    return Extra(1, 1)
def no_state():
    class NoState(nn.Linear):
        def state_dict(self, *args, **kwargs): raise OSError("gone")
    return NoState(1, 1)
"""


@pytest.fixture
def build(tmp_path, monkeypatch):
    """Builds the network of a function of the user's module `bad_networks`."""
    (tmp_path / "bad_networks.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    return lambda function: build_from_factory(
        "mine", model_entry(factory=f"bad_networks:{function}")
    )


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        ("fails", "raised RuntimeError: no network ("),
        ("deep", "bad_networks.py:6)"),
        ("exits", "raised SystemExit: 0 ("),
        ("needs", "raised TypeError: needs() missing 1 required positional argument: 'depth'"),
        ("nothing", "returned NoneType; expected a torch.nn.Module"),
        ("a_class", "returned type; expected a torch.nn.Module"),
        ("a_function", "returned function; expected a torch.nn.Module"),
        ("lazy", "returned a network whose 0.weight is a lazy parameter"),
        ("meta", "returned a network whose weight is a meta tensor"),
        ("complex_numbers", "returned a network whose weight is complex numbers"),
        ("extra", "returned a network whose _extra_state is dict"),
        ("no_state", "raised OSError: gone ("),
    ],
)
def test_a_factory_without_a_network_is_refused_with_the_reason(build, function, expected):
    with refused(f"params.yaml: models.mine.factory: bad_networks:{function} ", expected):
        build(function)


def test_a_module_that_fails_is_refused_with_the_line(tmp_path, monkeypatch):
    (tmp_path / "worse_networks.py").write_text("import torch\n\n1 / 0\n")
    monkeypatch.syspath_prepend(tmp_path)
    with refused("cannot be imported (ZeroDivisionError: division by zero (", "networks.py:3)"):
        build_from_factory("mine", model_entry(factory="worse_networks:build"))
