import shutil
from pathlib import Path

import pytest
from helpers.clusters import started
from helpers.cpp_runner import build_programs
from helpers.images import write_image
from helpers.params import own, write_params
from helpers.standalone import make_bare_python

from parity.faults import candidates
from stages import export_onnx, fetch, mend, preprocess, transform, weights


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    """An empty folder with small parameters, as the current one."""
    monkeypatch.chdir(tmp_path)
    write_params(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def bare_python(tmp_path_factory) -> Path:
    """The Python of an environment that has OpenCV, NumPy and nothing else."""
    return make_bare_python(tmp_path_factory.mktemp("bare"))


@pytest.fixture(scope="session")
def _cluster(tmp_path_factory):
    with started(tmp_path_factory.mktemp("cluster"), workers=2) as cluster:
        yield cluster


@pytest.fixture
def on_cluster(_cluster, monkeypatch) -> None:
    """CLUSTER names a scheduler with two workers on this machine. Do not kill them."""
    monkeypatch.setenv("CLUSTER", str(_cluster.file))


@pytest.fixture(scope="session")
def _own_cluster(tmp_path_factory):
    with started(tmp_path_factory.mktemp("own_cluster"), workers=0) as cluster:
        yield cluster


@pytest.fixture
def own_cluster(_own_cluster, monkeypatch):
    """A scheduler that CLUSTER names, without workers. Add some, and kill what you like."""
    if _own_cluster.scheduler.poll() is not None:
        _own_cluster.start_scheduler()
    monkeypatch.setenv("CLUSTER", str(_own_cluster.file))
    yield _own_cluster
    _own_cluster.stop_workers()


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


@pytest.fixture(scope="session")
def cpp_programs(tmp_path_factory) -> Path:
    """The folder of the runner and of the tests' program, built against the system's OpenCV."""
    folder = tmp_path_factory.mktemp("cpp")
    build_programs(folder)
    return folder
