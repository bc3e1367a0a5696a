import json
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from helpers.bundles import NAMES, digests, tiny_content, unpack
from helpers.images import write_image
from helpers.onnx_files import add_external_tensor
from helpers.refusals import refused

from parity.bundle import write
from parity.bundle.content import Unproven
from parity.bundle.write import write_bundle
from parity.core.paths import bundle_path
from parity.preprocessing.images import read_image

FILES = ["README.md", "SHA256SUMS", "labels.txt", "model.onnx", "models.yml"]
FILES += ["preprocessing.json", "run_onnx.py", "verify.json"]
CPP = {"run_onnx.cpp", "CMakeLists.txt"}


def test_the_folder_and_the_zip_hold_the_model_and_its_evidence(tmp_path):
    content = tiny_content(tmp_path / "of", "segmentation")
    write_bundle(tmp_path / "bundle", content, force=False)
    bundle = tmp_path / "bundle"
    assert sorted({path.name for path in bundle.iterdir() if path.is_file()} - CPP) == FILES
    assert digests(unpack(tmp_path / "bundle.zip", tmp_path / "unpacked")) == digests(bundle)
    subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=bundle, check=True)
    listed = {line[66:] for line in (bundle / "SHA256SUMS").read_text().splitlines()}
    assert listed == set(digests(bundle)) - {"SHA256SUMS"}

    assert (bundle / "model.onnx").read_bytes() == content.onnx.read_bytes()
    assert (bundle / "labels.txt").read_text().splitlines() == NAMES
    verification = json.loads((bundle / "verify.json").read_text())
    assert (verification["verdict"], verification["forced"]) == ("pass", 0)
    for one, example in zip(verification["images"], content.examples, strict=True):
        assert (bundle / one["image"]).read_bytes() == example.file.read_bytes()
        np.testing.assert_array_equal(read_image(bundle / one["pixels"]), example.pixels)
        for kind in ("blob", "logits"):
            array = np.load(bundle / one[kind])
            assert array.dtype == np.dtype("<f4") and array.flags.c_contiguous
            np.testing.assert_array_equal(array, getattr(example, kind))


def test_a_second_run_gives_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        write_bundle(tmp_path / name, tiny_content(tmp_path / "of"), force=False)
    assert digests(tmp_path / "a") == digests(tmp_path / "b")
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "a.zip") as packed:
        assert packed.namelist() == sorted(packed.namelist())


def test_a_changed_model_is_bundled_anew(tmp_path):
    write_bundle(tmp_path / "bundle", tiny_content(tmp_path / "of", images=4), force=False)
    content = tiny_content(tmp_path / "of", "segmentation", images=1)
    write_bundle(tmp_path / "bundle", content, force=False)
    assert len([*(tmp_path / "bundle/images").iterdir()]) == 1
    assert digests(unpack(tmp_path / "bundle.zip", tmp_path / "unpacked")) == digests(
        tmp_path / "bundle"
    )


def test_external_data_lie_where_the_onnx_file_names_them(tmp_path):
    content = tiny_content(tmp_path / "of")
    add_external_tensor(content.onnx, "weights/far.bin")
    content = tiny_content_with(content, [tmp_path / "of/weights/far.bin"])
    write_bundle(tmp_path / "bundle", content, force=False)
    assert (tmp_path / "bundle/weights/far.bin").read_bytes() == bytes(16)
    onnx.load(tmp_path / "bundle/model.onnx")


def tiny_content_with(content, data_files):
    return type(content)(**(vars(content) | {"data_files": data_files}))


def test_what_does_not_verify_here_is_not_bundled_unless_forced(tmp_path):
    content = tiny_content(tmp_path / "of")
    wrong = type(content)(**(vars(content) | {"rel": 1e-12}))
    with pytest.raises(Unproven) as caught:
        write_bundle(tmp_path / "bundle", wrong, force=False)
    assert "network: fail: rel " in str(caught.value) and "\n" not in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["of"]

    written = write_bundle(tmp_path / "bundle", wrong, force=True)
    assert written.forced and "network: fail" in written.verdict
    verification = json.loads((tmp_path / "bundle/verify.json").read_text())
    assert verification["forced"] == 1 and verification["verdict"] == written.verdict
    assert "This model did not pass: network: fail" in (tmp_path / "bundle/README.md").read_text()
    subprocess.run(
        ["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=tmp_path / "bundle", check=True
    )


def test_nothing_but_a_bundle_is_replaced(tmp_path):
    content = tiny_content(tmp_path / "of", images=1)
    write_image(tmp_path / "bundle/mine.png")
    with refused(f"{tmp_path}/bundle: exists and is not a bundle"):
        write_bundle(tmp_path / "bundle", content, force=True)
    (tmp_path / "other.zip").write_bytes(b"mine")
    with refused(f"{tmp_path}/other.zip: exists and is not a bundle"):
        write_bundle(tmp_path / "other", content, force=True)
    assert (tmp_path / "other.zip").read_bytes() == b"mine" and not (tmp_path / "other").exists()


def test_an_error_on_the_way_leaves_the_last_bundle(tmp_path, monkeypatch):
    write_bundle(tmp_path / "bundle", tiny_content(tmp_path / "of"), force=False)
    before = digests(tmp_path)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(write, "pack", full)
    with pytest.raises(OSError):
        write_bundle(tmp_path / "bundle", tiny_content(tmp_path / "of"), force=False)
    assert digests(tmp_path) == before
    assert not [path for path in tmp_path.iterdir() if "partial" in path.name]


def test_the_bundle_of_a_model_is_beside_it():
    assert bundle_path("resnet50") == Path("models/resnet50/bundle")
