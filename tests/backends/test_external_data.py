import numpy as np
import pytest
from helpers.onnx_files import add_external_tensor, write_tiny_onnx
from helpers.refusals import refused

from parity.backends.external_data import check_external_data
from parity.backends.float64 import load_float64
from parity.backends.isolated import IsolatedForward
from parity.backends.onnxruntime import load_onnxruntime, write_optimized
from parity.backends.opencv import engines, load_opencv, run_opencv
from parity.core.params import BackendParams
from parity.faults.settings import FILE_OPENCV

OUT = "../" * 30 + "etc/passwd"
BLOB = np.zeros((1, 3, 8, 8), np.float32)


@pytest.fixture
def leading_out(tmp_path):
    return add_external_tensor(write_tiny_onnx(tmp_path / "a.onnx"), OUT)


@pytest.mark.parametrize(
    "read",
    [
        check_external_data,
        lambda path: load_onnxruntime(path, BackendParams(threads=1)),
        lambda path: write_optimized(path, path.with_name("b.onnx")),
        lambda path: load_opencv(path, FILE_OPENCV),
        load_float64,
        *(
            lambda path, engine=engine: run_opencv(path, engine, 1, {"input": BLOB}, ["0"])
            for engine in engines().values()
        ),
    ],
)
def test_no_library_reads_a_file_whose_data_lies_outside(leading_out, read):
    with refused(f"{leading_out}: tensor far: external data: found location ../../"):
        read(leading_out)
    assert not leading_out.with_name("b.onnx").exists()


@pytest.mark.process
def test_the_refusal_is_no_result_of_the_backend(leading_out):
    with refused(f"{leading_out}: tensor far: "):
        IsolatedForward(load_opencv, leading_out, FILE_OPENCV, limit_s=60)


def test_a_file_that_only_speaks_of_a_location_is_read(tmp_path):
    path = write_tiny_onnx(tmp_path / "location.onnx")
    content = path.read_bytes()
    path.write_bytes(content.replace(b"features", b"location"))
    forward = load_onnxruntime(path, BackendParams(threads=1))
    assert forward(BLOB).shape == (1, 10)
    assert load_opencv(path, FILE_OPENCV)(BLOB).shape == (1, 10)


@pytest.mark.parametrize("content", [None, b"", b"location"])
def test_what_is_no_onnx_file_is_refused_by_whoever_reads_it(tmp_path, content):
    path = tmp_path / "a.onnx"
    if content is not None:
        path.write_bytes(content)
    with refused(path):
        load_opencv(path, FILE_OPENCV)
