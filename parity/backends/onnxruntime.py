"""ONNX Runtime as a backend, and the one place that opens its sessions."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnxruntime
from onnxruntime import GraphOptimizationLevel, InferenceSession, SessionOptions

from parity.backends.contract import BackendFailure, FailureKind, Forward
from parity.backends.external_data import check_external_data
from parity.core.cli import log
from parity.core.machine import cores
from parity.core.params import BackendParams

if TYPE_CHECKING:  # the stages need no onnx here
    from onnx import ModelProto

FATAL = 4  # a log level: errors are raised, nothing else needs saying


def load_onnxruntime(model: Path, params: BackendParams) -> Forward:
    """Read an ONNX file with ONNX Runtime, on the CPU, and return its forward pass.

    The function takes a blob, float32 (N, 3, H, W), and returns float32 logits, (N, C) or
    (N, C, H, W). Raises InputError when the file names data outside its folder, and BackendFailure
    when ONNX Runtime refuses the model or a blob.
    """
    options = SessionOptions()
    options.intra_op_num_threads = params.threads or cores()
    # Threads that spin after their work would take the cores from the backend that is timed next.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = _session(model, options, f"{model}: ")
    log(f"{model}: read by ONNX Runtime {onnxruntime.__version__}")
    name = session.get_inputs()[0].name
    return lambda blob: _run(session, {name: blob}, None, f"{model}: ")[0]


def run_onnxruntime(
    model: "ModelProto", feeds: Mapping[str, np.ndarray], outputs: Sequence[str]
) -> dict[str, np.ndarray]:
    """Compute `outputs` of a model without graph optimisation, as its nodes say.

    Raises BackendFailure when ONNX Runtime refuses the model or the feeds.
    """
    (found,) = run_onnxruntime_in_turn(model, [feeds], outputs)
    if isinstance(found, BackendFailure):
        raise found
    return found


def run_onnxruntime_in_turn(
    model: "ModelProto", feeds: Iterable[Mapping[str, np.ndarray]], outputs: Sequence[str]
) -> list[dict[str, np.ndarray] | BackendFailure]:
    """As `run_onnxruntime`, for several feeds; a feed that is refused gives its failure.

    Raises BackendFailure `refused` when ONNX Runtime cannot read the model.
    """
    options = SessionOptions()
    options.graph_optimization_level = GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = FATAL
    session = _session(model.SerializeToString(), options)
    found: list[dict[str, np.ndarray] | BackendFailure] = []
    for one in feeds:
        try:
            found.append(dict(zip(outputs, _run(session, one, outputs), strict=True)))
        except BackendFailure as failure:
            found.append(failure)
    return found


def write_optimized(source: Path, target: Path) -> None:
    """Write a model with constants folded and nodes fused, in standard ONNX operators only.

    Raises BackendFailure when ONNX Runtime refuses the model.
    """
    options = SessionOptions()
    options.graph_optimization_level = GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(target)
    options.log_severity_level = FATAL
    _session(source, options)


def _session(model: Path | bytes, options: SessionOptions, prefix: str = "") -> InferenceSession:
    if isinstance(model, Path):
        check_external_data(model)
    try:
        return InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions share no base class but Exception
        raise _failure("refused", f"{prefix}ONNX Runtime cannot read it", error) from None


def _run(
    session: InferenceSession,
    feeds: Mapping[str, np.ndarray],
    outputs: Sequence[str] | None,
    prefix: str = "",
) -> list[np.ndarray]:
    try:
        return session.run(outputs and list(outputs), dict(feeds))
    except Exception as error:  # as above
        raise _failure("error", f"{prefix}ONNX Runtime cannot run it", error) from None


def _failure(kind: FailureKind, message: str, error: Exception) -> BackendFailure:
    return BackendFailure(kind, f"{message}: {' '.join(str(error).split())}")
