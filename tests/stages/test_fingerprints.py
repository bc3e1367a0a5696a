from importlib.metadata import version

from stages import fingerprints as versions


def test_each_library_has_its_version_in_a_file_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    versions.main([])
    files = {path.name: path.read_text() for path in versions.VERSIONS.iterdir()}
    assert sorted(files) == ["onnx.txt", "onnxruntime.txt", "opencv.txt", "torch.txt"]
    assert files["opencv.txt"] == f"opencv-python {version('opencv-python')}\n"
    assert files["torch.txt"].splitlines()[0] == f"torch {version('torch')}"
