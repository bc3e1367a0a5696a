"""torchvision without PyTorch's compiler, whose import takes half of a stage's start.

torchvision's RoIAlign imports `torch._dynamo.utils` for one function, which it calls only when the
operator is compiled. Here that function imports it when it is called.
"""

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

COMPILER = "torch._dynamo.utils"


@contextmanager
def _compiler_postponed() -> Iterator[None]:
    """Let a module in its place stand in for `torch._dynamo.utils`, unless that is loaded."""
    if COMPILER in sys.modules:
        yield
        return
    stand_in = ModuleType(COMPILER)
    stand_in.is_compile_supported = _is_compile_supported
    sys.modules[COMPILER] = stand_in
    try:
        yield
    finally:
        del sys.modules[COMPILER]


def _is_compile_supported(device_type: Any) -> Any:
    return importlib.import_module(COMPILER).is_compile_supported(device_type)


with _compiler_postponed():
    import torchvision
    from torchvision.models import WeightsEnum

__all__ = ["WeightsEnum", "torchvision"]
