"""Functions that load a backend, or replace a step of `make coverage`; tests run them in processes
of their own, so that nothing heavy is imported here."""

import os
import resource
import signal
import sys
import time

import numpy as np

from parity.backends.contract import BackendFailure
from parity.backends.onnxruntime import load_onnxruntime
from parity.core.cli import InputError
from parity.coverage.opencv_versions import load_opencv_of
from parity.coverage.synthetic_images import patterns


def load_doubling():
    return lambda blob: 2 * blob[:, :, 0, 0]


def load_drifting():
    calls = []

    def forward(blob: np.ndarray) -> np.ndarray:
        calls.append(blob)
        return 2 * blob[:, :, 0, 0] + 1e-6 * len(calls)

    return forward


def load_broadcasting():
    return lambda blob: 2 * blob[:1, :, 0, 0]


def load_crashing_with_two():
    def forward(blob: np.ndarray) -> np.ndarray:
        if len(blob) == 2:
            os.kill(os.getpid(), signal.SIGSEGV)
        return 2 * blob[:, :, 0, 0]

    return forward


def load_unwritten():
    value = float(os.environ.get("MALLOC_PERTURB_", 0))
    return lambda blob: 2 * blob[:, :, 0, 0] + value


def load_refusing():
    raise BackendFailure("refused", "no")


def load_opencv_and_check_folder(folder, model, params):
    forward = load_opencv_of(folder, model, params)
    if not sys.modules["cv2"].__file__.startswith(str(folder)):
        raise BackendFailure("refused", sys.modules["cv2"].__file__)
    return forward


# For a run of `make coverage` whose model is the tiny classifier of `write_tiny_onnx`.


def tiny_reference(model, params):
    save_tiny_logits(model.reference_path, params, np.float32)
    return {"parameters": 0.0, "spread": 1.0, "noise": 0.0, "ms": 1.0}


def tiny_exact(model, params):
    save_tiny_logits(model.exact_path, params, np.float64)
    return {"rel": 1e-7, "rms": 1e-7, "seconds": 0.1}


def save_tiny_logits(path_of, params, dtype):
    (size,) = params.coverage.sizes.classification
    blob = patterns(params.coverage.images, *map(int, size.split("x")), params.seed)
    weights = np.random.default_rng(0).normal(size=(params.coverage.classes, 3)).astype(np.float32)
    pixels = blob.reshape(*blob.shape[:2], -1)
    # One after the other, as engines sum; `mean` would be more exact.
    means = np.add.accumulate(pixels, axis=2, dtype=dtype)[..., -1] / dtype(pixels.shape[2])
    np.save(path_of(size), (means @ weights.T.astype(dtype)).astype(dtype))


def no_exact(model, params):
    raise BackendFailure("error", f"{model.folder}/weights.pth: bound to float32")


def tiny_export(model, params, how, shape, dynamic, path):
    from helpers.onnx_files import write_tiny_onnx

    write_tiny_onnx(path, classes=params.coverage.classes)


def export_onto_full_disk(*arguments):
    """Fail as an exporter does on a full disk, with a message of its own."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))
    try:
        tiny_export(*arguments)
    except OSError as error:
        raise InputError(f"cannot be exported: {error}") from None


def reference_onto_full_disk(model, params):
    from parity.coverage.reference import make_reference

    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
    return make_reference(model, params)


def export_without_weights(model, *arguments):
    try:
        (model.folder / "weights.pth").read_bytes()
    except FileNotFoundError as error:
        raise InputError(f"{error.filename}: no such file") from None


def export_no_fixed(model, params, how, shape, dynamic, path):
    if not dynamic:
        raise InputError("cannot be exported: of fixed sizes")
    tiny_export(model, params, how, shape, dynamic, path)


def load_opencv_without_file(folder, model, params):
    model.unlink()
    return load_opencv_of(folder, model, params)


def load_opencv_of_fixed(folder, model, params):
    if "x" not in model.stem:
        raise BackendFailure("refused", f"{model}: dynamic sizes")
    return load_opencv_of(folder, model, params)


def load_onnxruntime_wrong_of_dynamic(model, params):
    forward = load_onnxruntime(model, params)
    return forward if "x" in model.stem else lambda blob: forward(blob) + 1


def load_hungry(*_):
    """Reserve more memory than a test's limit, without touching it: harmless without a limit."""
    np.empty(4_000_000_000, np.uint8)
    return load_doubling()


def load_without_memory(*_):
    raise BackendFailure("refused", "any.onnx: OpenCV cannot read it: std::bad_alloc")


def load_running_out_once_dirty():
    if "MALLOC_PERTURB_" in os.environ:
        load_hungry()
    return load_doubling()


def load_slow_once_dirty():
    if "MALLOC_PERTURB_" in os.environ:
        time.sleep(60)
    return load_doubling()


def load_crashing_once_dirty():
    if "MALLOC_PERTURB_" in os.environ:
        os.kill(os.getpid(), signal.SIGSEGV)
    return load_doubling()


def run_as_fed(folder, engine, path, feeds, outputs):
    """In place of OpenCV: return what is fed, crash with 6 and hang with 7."""
    values = [one for feed in feeds for one in feed.values()]
    if any(6 in value for value in values):
        os.abort()
    if any(7 in value for value in values):
        time.sleep(60)
    return [[value] for value in values], None
