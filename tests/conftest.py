import shutil
from pathlib import Path

import pytest
from helpers.images import write_image
from helpers.params import own, write_params

from parity.faults import candidates
from stages import export_onnx, fetch, mend, preprocess, transform, weights


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    """An empty folder with small parameters, as the current one."""
    monkeypatch.chdir(tmp_path)
    write_params(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def _prepared(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("prepared")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_params(folder)
        for dataset, profile in (("textures", "imagenet"), ("shapes", "voc")):
            fetch.main([dataset])
            transform.main([profile])
            preprocess.main([profile])
    return folder


@pytest.fixture
def prepared(_prepared, tmp_path, monkeypatch) -> Path:
    """A project whose sample datasets are fetched and preprocessed; its own copy."""
    shutil.copytree(_prepared, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def _converted(_prepared, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("converted")
    shutil.copytree(_prepared, folder, dirs_exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        weights.main(["squeezenet1_1"])
        for exporter in ("dynamo", "torchscript"):
            write_params(folder, {"export.exporter": exporter})
            export_onnx.main(["squeezenet1_1"])
            mend.main(["squeezenet1_1"])
            shutil.copy("models/squeezenet1_1/model.onnx", f"{exporter}.onnx")
    return folder


@pytest.fixture
def converted(_converted, tmp_path, monkeypatch) -> Path:
    """A prepared project with the weights and the ONNX file of squeezenet1_1, `random`; what each
    exporter wrote lies in `dynamo.onnx` and `torchscript.onnx`. Its own copy."""
    shutil.copytree(_converted, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def _mobilenet(_prepared, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("mobilenet")
    shutil.copytree(_prepared, folder, dirs_exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        entry = {"task": "classification", "preprocess": "imagenet", "weights": "random"}
        for exporter in ("torchscript", "dynamo"):
            changes = {"models": {"mobilenet_v3_small": entry}, "export.exporter": exporter}
            write_params(folder, changes)
            if not Path("models").exists():
                weights.main(["mobilenet_v3_small"])
            export_onnx.main(["mobilenet_v3_small"])
            mend.main(["mobilenet_v3_small"])
            shutil.copy("models/mobilenet_v3_small/model.onnx", f"{exporter}.onnx")
    return folder


@pytest.fixture
def mobilenet_by_dynamo(_mobilenet, tmp_path, monkeypatch) -> Path:
    """A prepared project with mobilenet_v3_small, `random`, by the exporter dynamo: OpenCV gives
    wrong answers without an error. What each exporter wrote lies in `dynamo.onnx` and
    `torchscript.onnx`. Its own copy."""
    shutil.copytree(_mobilenet, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def one_rewrite(monkeypatch) -> None:
    """Let the search for workarounds try one rewritten file and one other export only, as each
    takes processes of its own."""
    monkeypatch.setattr(candidates, "REWRITES", {"basic": candidates.optimize_basic})
    every = candidates.other_exports
    monkeypatch.setattr(candidates, "other_exports", lambda *how: every(*how)[:1])


@pytest.fixture
def mine(project):
    """A dataset of the user's, in the folder `mine` of the project."""
    for name in ("a.png", "b.png"):
        write_image(project / "mine/images" / name)
    (project / "mine/labels.txt").write_text("cat\ndog\n")
    (project / "mine/val.txt").write_text("a.png 0\nb.png 1\n")
    write_params(project, own(classes="labels.txt"))
    return project / "mine"
