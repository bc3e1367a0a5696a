"""A model of the user's: a network defined elsewhere, trained weights, a dataset of its own."""

import importlib
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from helpers.checkout import stage_process
from helpers.fingerprints import changed_outside
from helpers.folders import file_contents
from helpers.images import write_image
from helpers.params import own, write_params
from helpers.refusals import refused
from torch import nn

from parity.core.params import load_params, of_model
from stages import check_params, fetch, preprocess, summary, transform, weights
from tools import demo

pytestmark = pytest.mark.pipeline

MODULE = "mycompany_nets"
CODE = """
from torch import nn


class SmallNet(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, width, 3, 2, 1), nn.BatchNorm2d(width), nn.ReLU(), nn.AvgPool2d(4)
        )
        self.head = nn.Linear(width, 3)

    def forward(self, blob):
        features = self.features(blob).mean((2, 3))
        return {"logits": self.head(features), "features": features}


class Pair(SmallNet):
    def forward(self, blob):
        return tuple(super().forward(blob).values())[::-1]


def build(width=8):
    return SmallNet(width)


def build_pair(width=8):
    return Pair(width)


def build_number(width):
    return 3


def build_picky():
    return nn.Linear(7, 3)
"""
COLOURS = {"red": (200, 60, 60), "green": (60, 200, 60), "blue": (60, 60, 200)}
MODEL_STAGES = (
    "weights",
    "export_onnx",
    "mend",
    "infer_pytorch",
    "infer_onnxruntime",
    "infer_opencv",
    "infer_exact",
    "evaluate",
    "stability",
    "benchmark",
    "results",
    "plot",
)


def picture(label: int, seed: int) -> np.ndarray:
    """A noisy plane of one of the colours, uint8 (48, 48, 3)."""
    noise = np.random.default_rng(seed).normal(0, 50, (48, 48, 3))
    return (np.array(list(COLOURS.values())[label]) + noise).clip(0, 255).astype(np.uint8)


def train(network: nn.Module) -> None:
    labels = torch.arange(30) % 3
    images = torch.from_numpy(np.stack([picture(label, 100 + label) for label in labels.tolist()]))
    blob = (images.permute(0, 3, 1, 2) / 255 - 0.45) / 0.22
    optimizer = torch.optim.Adam(network.parameters(), 0.05)
    for _ in range(30):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(blob)["logits"], labels).backward()
        optimizer.step()


@pytest.fixture(scope="module")
def nets(tmp_path_factory):
    """The user's module, importable as one of an installed package is."""
    folder = tmp_path_factory.mktemp("elsewhere")
    (folder / f"{MODULE}.py").write_text(CODE)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield importlib.import_module(MODULE)
    sys.modules.pop(MODULE)


@pytest.fixture(scope="module")
def _trained(nets, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    torch.manual_seed(0)
    network = nets.build()
    train(network)
    torch.save(network.state_dict(), folder / "trained.pth")
    for index in range(12):
        write_image(folder / f"colours/images/{index}.png", picture(index % 3, index))
    listed = "".join(f"{index}.png {index % 3}\n" for index in range(12))
    (folder / "colours/val.txt").write_text(listed)
    (folder / "colours/classes.txt").write_text("\n".join(COLOURS))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        use(small_net=entry())
        fetch.main(["textures"])
        transform.main(["imagenet"])
        preprocess.main(["imagenet"])
    return folder


@pytest.fixture
def trained(_trained, tmp_path, monkeypatch) -> Path:
    """The dataset, preprocessed, and a checkpoint of the trained network; its own copy."""
    shutil.copytree(_trained, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def entry(**changes) -> dict:
    """The entry of the network in params.yaml; None takes a key out."""
    fields = {
        "task": "classification",
        "preprocess": "imagenet",
        "factory": f"{MODULE}:build",
        "arguments": {"width": 8},
        "weights": "trained.pth",
        "output": "logits",
        "classes": 3,
    }
    return {key: value for key, value in (fields | changes).items() if value is not None}


def use(**models: dict) -> None:
    size = {"resize": 40, "keep_aspect": True, "crop": 32, "interpolation": "linear"}
    changes = own(source="colours", train="none") | {"preprocess.imagenet.size": size}
    write_params(Path(), changes | {"models": models})


def run_stages(name: str) -> dict:
    """Run all stages of a model; return its metrics."""
    for stage in MODEL_STAGES:
        importlib.import_module(f"stages.{stage}").main([name])
    return json.loads(Path(f"metrics/{name}.json").read_text())


def test_a_network_from_elsewhere_is_converted_and_evaluated(trained):
    use(small_net=entry())
    check_params.main([])
    metrics = run_stages("small_net")
    assert metrics["images"] == 12
    for backend in ("pytorch", "onnxruntime", "opencv"):
        assert metrics[backend]["acc@1"] == 100
    assert metrics["parity"]["opencv_vs_pytorch"]["rel"] < 1e-5
    summary.main([])
    table = Path("plots/summary.md").read_text()
    assert "| small_net | classification |     12 |    100.00 |" in table


def test_a_model_that_is_onnx_already_is_compared_with_onnx_runtime(trained, capsys):
    use(small_net=entry())
    weights.main(["small_net"])
    importlib.import_module("stages.export_onnx").main(["small_net"])
    shutil.copy("models/small_net/model.onnx", "given.onnx")

    given = {"task": "classification", "preprocess": "imagenet", "onnx": "given.onnx"}
    use(given=given)
    check_params.main([])
    metrics = run_stages("given")
    assert "pytorch" not in metrics and list(metrics["parity"]) == ["opencv_vs_onnxruntime"]
    assert metrics["onnxruntime"]["acc@1"] == metrics["opencv"]["acc@1"] == 100
    assert metrics["parity"]["opencv_vs_onnxruntime"]["rel"] < 1e-5
    times = json.loads(Path("metrics/benchmark/given.json").read_text())
    assert times["opencv_over_onnxruntime"] > 0 and "opencv_over_pytorch" not in times
    summary.main([])
    row = next(
        line for line in Path("plots/summary.md").read_text().splitlines() if "given" in line
    )
    assert "| - |" in " ".join(row.split()) and "ORT: " in row

    capsys.readouterr()
    demo.main(["classification", "--image", "colours/images/1.png"])
    out = capsys.readouterr().out
    assert "given: OpenCV and ONNX Runtime agree: the same class" in out and "PyTorch" not in out


def test_both_kinds_share_a_summary(trained):
    use(small_net=entry())
    run_stages("small_net")
    shutil.copy("models/small_net/model.onnx", "given.onnx")
    given = {"task": "classification", "preprocess": "imagenet", "onnx": "given.onnx"}
    use(small_net=entry(), given=given)
    run_stages("given")
    summary.main([])
    table = Path("plots/summary.md").read_text()
    assert "has no PyTorch" in table and "different environments" not in table
    for name in ("accuracy", "inference_time", "parity"):
        assert Path(f"plots/{name}.png").stat().st_size > 1000


def test_the_file_of_a_given_model_keeps_what_it_says_and_gains_what_one_must_know(trained):
    use(small_net=entry())
    weights.main(["small_net"])
    importlib.import_module("stages.export_onnx").main(["small_net"])
    model = onnx.load("models/small_net/model.onnx")
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, {"author": "somebody"})
    onnx.save(model, "given.onnx")
    use(given={"task": "classification", "preprocess": "imagenet", "onnx": "given.onnx"})
    weights.main(["given"])
    importlib.import_module("stages.export_onnx").main(["given"])
    taken = onnx.load("models/given/model.onnx")
    assert taken.graph == model.graph
    said = {prop.key: prop.value for prop in taken.metadata_props}
    assert said["author"] == "somebody" and said["weights"] == "given.onnx"
    assert json.loads(said["classes"]) == list(COLOURS)
    assert json.loads(said["preprocess"])["size"]["crop"] == 32


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("key", [None, "model"])
def test_a_state_dict_may_be_under_a_key_and_of_a_parallel_network(trained, prefix, key):
    state = torch.load("trained.pth", weights_only=True)
    state = {f"{prefix}{name}": value for name, value in state.items()}
    torch.save({key: state, "epoch": 7} if key else state, "mine.pth")
    use(small_net=entry(weights="mine.pth", checkpoint_key=key))
    weights.main(["small_net"])
    loaded = torch.load("models/small_net/weights.pth", weights_only=True)
    for name, value in torch.load("trained.pth", weights_only=True).items():
        torch.testing.assert_close(loaded[name], value, rtol=0, atol=0)


def test_the_output_may_be_an_entry_of_a_tuple(trained):
    use(small_net=entry(factory=f"{MODULE}:build_pair", output=1))
    assert run_stages("small_net")["opencv"]["acc@1"] == 100


def test_a_network_of_ones_own_may_have_random_weights_or_a_probes(trained):
    use(small_net=entry(weights="random"))
    assert run_stages("small_net")["parity"]["opencv_vs_pytorch"]["rel"] < 1e-4


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"factory": "no_such_module:build"}, "factory: no_such_module:build: cannot be imported"),
        ({"factory": f"{MODULE}:bild"}, f"the module {MODULE} has no bild"),
        ({"factory": f"{MODULE}:build_number"}, "returned int; expected a torch.nn.Module"),
        ({"arguments": {"depth": 1}}, "raised TypeError: build() got an unexpected keyword"),
        ({"factory": f"{MODULE}:build_picky", "arguments": None}, "has no entry weight"),
        ({"output": None}, "output: missing; the network returns a dict with the keys 'logits', "),
        ({"output": "out"}, "output: found 'out'; the network returns a dict with the keys"),
        ({"output": "features"}, "the output is (1, 8) for a blob (1, 3, 32, 32); expected (1, 3)"),
        ({"classes": 4}, "classes: found 4; the dataset of the profile 'imagenet' has 3"),
        ({"weights": "nowhere.pth"}, "found 'nowhere.pth', which is no file"),
        ({"checkpoint_key": "model"}, "trained.pth: has no entry 'model'"),
        ({"arguments": {"width": 9}}, "found shape (8, 3, 3, 3); the model needs (9, 3, 3, 3)"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_was_expected(trained, changes, expected):
    use(small_net=entry(**changes))
    with refused(expected):
        weights.main(["small_net"])
    assert not Path("models/small_net/weights.pth").exists()


def test_a_network_that_cannot_run_the_blob_is_refused_with_its_reason(trained):
    use(small_net=entry(factory=f"{MODULE}:build_picky", arguments=None, weights="picky.pth"))
    torch.save(nn.Linear(7, 3).state_dict(), "picky.pth")
    with refused("the network cannot run a blob (1, 3, 32, 32): RuntimeError"):
        weights.main(["small_net"])


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (entry(weights="random", checkpoint_key="x"), "checkpoint_key: not used with"),
        (entry(onnx="a.onnx"), "not used with `onnx`"),
        (entry(factory=None), "not used with a torchvision model, only with `factory`"),
        (entry(weights=None), "models.small_net.weights: missing"),
        (entry(factory="mycompany.nets"), "found 'mycompany.nets'; expected package.module:funct"),
        (entry(factory="os:system;ls"), "expected package.module:function"),
    ],
)
def test_keys_that_mean_nothing_together_are_refused(trained, model, expected):
    use(small_net=model)
    with refused("params.yaml: models.small_net.", expected):
        load_params()


def test_a_checkpoint_of_several_state_dicts_is_refused_with_the_key_to_name(trained):
    state = torch.load("trained.pth", weights_only=True)
    torch.save({"epoch": 3, "net": state}, "mine.pth")
    use(small_net=entry(weights="mine.pth"))
    with refused("mine.pth: expected a state dict", "`checkpoint_key: net`"):
        weights.main(["small_net"])


def test_a_whole_network_that_was_pickled_is_refused_and_says_why(trained, nets):
    torch.save(nets.build(), "mine.pth")
    use(small_net=entry(weights="mine.pth"))
    with refused(f"mine.pth: holds a Python object ({MODULE}.SmallNet), which could run code"):
        weights.main(["small_net"])


@pytest.mark.parametrize("content", [None, b"", b"no model"])
def test_an_onnx_file_that_is_none_is_refused_by_name(trained, content):
    if content is not None:
        Path("given.onnx").write_bytes(content)
    use(given={"task": "classification", "preprocess": "imagenet", "onnx": "given.onnx"})
    with refused("given.onnx"):
        weights.main(["given"])
        importlib.import_module("stages.export_onnx").main(["given"])
    assert not Path("models/given/model.onnx").exists()


def test_an_onnx_file_of_one_image_at_a_time_is_refused_with_the_key_to_set(trained):
    use(small_net=entry())
    weights.main(["small_net"])
    importlib.import_module("stages.export_onnx").main(["small_net"])
    model = onnx.load("models/small_net/model.onnx")
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    model.graph.output[0].type.tensor_type.shape.dim[0].dim_value = 1
    onnx.save(model, "one.onnx")
    given = {"task": "classification", "preprocess": "imagenet", "onnx": "one.onnx"}
    use(given=given)
    found = "inference.batch_size.classification: found 4; models.given.onnx takes 1 at a time"
    with refused(f"{found}: set models.given.inference.batch_size: 1"):
        check_params.main([])
    use(given=given | {"inference": {"batch_size": 1}}, small_net=entry())
    check_params.main([])
    assert of_model(load_params(), "small_net").inference.batch_size.classification == 4


def test_external_data_of_an_onnx_file_and_the_rest_of_a_factorys_package_are_watched(
    trained, monkeypatch
):
    use(small_net=entry())
    weights.main(["small_net"])
    importlib.import_module("stages.export_onnx").main(["small_net"])
    model = onnx.load("models/small_net/model.onnx")
    onnx.save(model, "big.onnx", save_as_external_data=True, location="big.bin", size_threshold=0)
    use(given={"task": "classification", "preprocess": "imagenet", "onnx": "big.onnx"})
    weights.main(["given"])
    with Path("big.bin").open("ab") as file:
        file.write(b"0")
    assert changed_outside() == ["models/given"]

    Path("mycompany").mkdir()
    Path("mycompany/__init__.py").write_text("")
    Path("mycompany/blocks.py").write_text(CODE)
    Path("shared_layers.py").write_text("")  # imported from outside of the package
    code = "import shared_layers\nfrom mycompany.blocks import build\n"
    Path("mycompany/nets.py").write_text(code)
    monkeypatch.syspath_prepend(trained)
    use(small_net=entry(factory="mycompany.nets:build"))
    weights.main(["small_net"])
    for file, other in (("blocks", CODE.replace("ReLU", "Sigmoid")), ("../shared_layers", "x = 1")):
        assert changed_outside() == []
        path = Path("mycompany") / f"{file}.py"
        before = path.read_text()
        path.write_text(other)
        assert changed_outside() == ["models/small_net"]
        path.write_text(before)
        weights.main(["small_net"])


def test_changed_code_checkpoint_or_onnx_file_makes_the_weights_stale(trained, nets):
    use(small_net=entry())
    weights.main(["small_net"])
    assert not changed_outside()
    for file in ("trained.pth", nets.__file__):
        content = Path(file).read_bytes()
        Path(file).write_bytes(content + b"\n")
        assert changed_outside() == ["models/small_net"]
        Path(file).write_bytes(content)
        weights.main(["small_net"])
        assert not changed_outside()


def test_a_gpu_that_is_not_there_ends_with_code_2(trained):
    if torch.cuda.is_available():
        pytest.skip("this machine has one")
    write_params(Path(), {"pytorch.device": "cuda"})
    process = stage_process("check_params", cwd=Path())
    assert process.communicate()[1].startswith("error: params.yaml: pytorch.device: found 'cuda'")
    assert process.returncode == 2


ENDING = """
import os
from torch import nn


class Ending(nn.Conv2d):
    def forward(self, blob):
        if "END" in os.environ:
            exec(os.environ["END"])
        return super().forward(blob).mean((2, 3))


def build():
    return Ending(3, 3, 1)
"""


def test_a_network_that_ends_the_process_fails_every_stage_that_runs_it(trained, monkeypatch):
    Path("ending.py").write_text(ENDING)
    monkeypatch.syspath_prepend(trained)
    use(ending=entry(factory="ending:build", arguments=None, output=None, weights="random"))
    for stage in ("weights", "export_onnx"):
        importlib.import_module(f"stages.{stage}").main(["ending"])
    before = file_contents(Path("models"))
    ends = {
        "weights": "os._exit(0)",
        "export_onnx": "raise SystemExit(0)",
        "locate": "os._exit(1)",
    }
    for stage, end in ends.items():
        monkeypatch.setenv("END", end)
        process = stage_process(stage, "ending", cwd=Path())
        _, err = process.communicate()
        assert process.returncode == 2, err
        (line,) = [line for line in err.splitlines() if line.startswith("error: ")]
        named = "params.yaml: models.ending.factory: ending:build: its code ended the process"
        assert named in line or (stage == "export_onnx" and "SystemExit" in line)
        assert "Traceback" not in err
    assert file_contents(Path("models")) == before
