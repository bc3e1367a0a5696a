"""A test of an operator: a small graph with inputs and the answers expected of it."""

from dataclasses import dataclass

import numpy as np
import onnx

Value = np.ndarray | list | None  # a list stands for a sequence, None for an optional without value


@dataclass(frozen=True)
class Case:
    """A small ONNX graph with inputs and the answers expected of it.

    `name` is unique: "onnx/test_add", "own/mish/other_operand#3". `operator` is the row that the
    case counts for: an ONNX operator ("Add") or a pattern of several ("Mish"). `inputs` has one
    entry per run, by input name, and `expected` one per run, in the order of the outputs; None
    stands for ONNX Runtime's answers. `form` is one of FORMS. `cause` is the key of the cause that
    a generated case probes.
    """

    name: str
    operator: str
    model: onnx.ModelProto
    inputs: list[dict[str, Value]]
    expected: list[list[Value]] | None
    form: str = "as is"
    cause: str | None = None


# What is added to an operator for the row of its definition, as nodes of other operators.
EXPANDED_ROW = " (expanded)"
# As the file says; with inputs as initializers; with constants and integers as computed values.
FORMS = ("as is", "constants", "computed")
