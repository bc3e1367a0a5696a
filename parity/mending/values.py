"""What is known about a value of a graph before it runs."""

import numpy as np
import onnx_ir as ir
from onnx_ir.convenience import get_const_tensor


def constant_of(value: ir.Value | None) -> np.ndarray | None:
    """Return the content of an initializer or of a Constant, None for other values.

    An initializer that is a graph input as well has only a default: it is no constant.
    """
    if value is None or value.is_graph_input():
        return None
    tensor = get_const_tensor(value)
    return None if tensor is None else tensor.numpy()


def same_size(one: int | ir.SymbolicDim, other: int | ir.SymbolicDim) -> bool:
    """Whether two sizes are the same number or have the same name; unknown sizes have none."""
    return one == other and one != ir.SymbolicDim(None)
