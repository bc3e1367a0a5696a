"""torchvision's weights, downloaded from a server on this machine alone."""

import hashlib
import io
import json
import re
import resource
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import torch
from helpers.checkout import stage_process
from helpers.http_server import (
    Answer,
    Server,
    fall_silent,
    hang_up,
    not_found,
    say_nothing,
    send,
    send_another_file,
    send_for_ever,
    send_half,
    send_login_page,
    serving,
)
from helpers.params import model_entry, write_params
from helpers.refusals import Code, refused
from torchvision.models import (
    MobileNet_V3_Large_Weights,
    ResNet50_Weights,
    SqueezeNet1_1_Weights,
    WeightsEnum,
    get_model,
    get_model_weights,
)
from torchvision.models.segmentation import (
    FCN_ResNet50_Weights,
    LRASPP_MobileNet_V3_Large_Weights,
)

from parity.core import http as connection
from parity.core.params import Task
from parity.networks.checkpoints import AUXILIARY_HEADS, load_state
from parity.networks.network import Logits, build, model_names
from parity.networks.published import cached_file, expected_hash, load_published, published_accuracy
from stages import weights

pytestmark = pytest.mark.process

NAME, WEIGHTS = "squeezenet1_1", SqueezeNet1_1_Weights.IMAGENET1K_V1
PATH = Path("models") / NAME / "weights.pth"
NOWHERE = "http://127.0.0.1:1"


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as server:
        yield server


@pytest.fixture(scope="module")
def content() -> bytes:
    """A checkpoint that torchvision might have published: squeezenet1_1 with 1000 outputs."""
    torch.manual_seed(1)
    return saved(build(NAME, model_entry(), 1000).state_dict())


@pytest.fixture
def cache(prepared, monkeypatch) -> Path:
    """torch.hub's cache, empty; the project's dataset has 1000 classes, its model older weights."""
    monkeypatch.setenv("TORCH_HOME", str(prepared / "home"))
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(connection, "SILENCE_S", 0.5)
    (prepared / "data/preprocessed/imagenet/classes.txt").write_text("thing\n" * 1000)
    write_params(prepared, {f"models.{NAME}.weights": "IMAGENET1K_V1"})
    PATH.parent.mkdir(parents=True)
    PATH.write_text("of an earlier run")
    return prepared / "home/hub/checkpoints"


@pytest.fixture
def publish(monkeypatch) -> Callable[..., str]:
    """Point torchvision's enum to weights of this content on a server, or nowhere; return their
    file name."""

    def change(content: bytes, server: Server | None, member: WeightsEnum = WEIGHTS) -> str:
        name = f"weights-{hashlib.sha256(content).hexdigest()[:8]}.pth"
        monkeypatch.setattr(member.value, "url", f"{server.url if server else NOWHERE}/{name}")
        if server:
            server.files[name] = content
        return name

    return change


def saved(state: object) -> bytes:
    file = io.BytesIO()
    torch.save(state, file)
    return file.getvalue()


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def assert_written(content: bytes) -> None:
    expected = torch.load(io.BytesIO(content), weights_only=True)
    found = torch.load(PATH, weights_only=True)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


# Downloads


def test_weights_are_downloaded_once_with_progress(cache, server, content, publish, capfd):
    name = publish(content, server)
    weights.main([NAME])
    assert_written(content)
    out, err = capfd.readouterr()
    assert f"downloading {server.url}/{name} to {cache / name}\n" in err and "100%" in err
    assert out == ""
    PATH.unlink()
    weights.main([NAME])
    assert_written(content)
    assert server.requests == [f"/{name}"]
    assert files(cache) == [name]


def test_a_slow_server_may_take_longer_than_a_silent_one(cache, server, content, publish):
    publish(content, server)
    server.answer = partial(send, pieces=8, pause=connection.SILENCE_S / 4)
    weights.main([NAME])
    assert_written(content)


CUT_OFF = "the file is cut off, or is not the expected one: invalid hash value (expected "


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (send_half, CUT_OFF),
        (send_another_file, CUT_OFF),
        (send_login_page, CUT_OFF),
        (not_found, "HTTP Error 404: Not Found"),
        (fall_silent, "no data for 0.5 s"),
        (say_nothing, "no data for 0.5 s"),
        (hang_up, "Remote end closed connection without response"),
    ],
)
def test_a_failed_download_leaves_nothing_and_names_two_remedies(
    cache, server, content, publish, answer: Answer, reason
):
    name = publish(content, server)
    server.answer = answer
    remedies = f"put the file {name} into {cache} by hand, or use `weights: probe`"
    with refused(f"{server.url}/{name}: cannot be downloaded ({reason}", remedies):
        weights.main([NAME])
    assert files(cache) == []
    assert files(PATH.parent) == ["weights.pth"] and PATH.read_text() == "of an earlier run"
    server.answer = send
    weights.main([NAME])
    assert_written(content)


def test_a_server_that_sends_without_end_is_cut_off(cache, server, content, publish, monkeypatch):
    monkeypatch.setattr(connection, "MAX_BYTES", 100_000)
    name = publish(content, server)
    server.answer = send_for_ever
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with refused(f"{server.url}/{name}: cannot be downloaded (", "File too large"):
        weights.main([NAME])
    assert files(cache) == [] and resource.getrlimit(resource.RLIMIT_FSIZE) == before


def test_an_unreachable_server_is_named(cache, content, publish):
    name = publish(content, None)
    with refused(f"{NOWHERE}/{name}: cannot be downloaded (", "refused", name, cache, "probe"):
        weights.main([NAME])
    assert files(cache) == [] and PATH.read_text() == "of an earlier run"


def test_a_cache_that_cannot_be_written_is_named(cache, server, content, publish):
    publish(content, server)
    cache.parent.mkdir(parents=True)
    cache.write_text("a file where the folder should be")
    with refused("cannot be downloaded (", "File exists", cache):
        weights.main([NAME])


def test_without_a_network_the_stage_ends_with_code_2_and_one_line(cache, monkeypatch):
    monkeypatch.delenv("no_proxy")
    monkeypatch.setenv("https_proxy", NOWHERE)
    process = stage_process("weights", NAME, cwd=Path.cwd())
    out, err = process.communicate()
    assert (process.returncode, out) == (2, "")
    (line,) = [line for line in err.splitlines() if not line.startswith("downloading ")]
    name = "squeezenet1_1-b8a52dc0.pth"
    assert line.startswith(f"error: https://download.pytorch.org/models/{name}: cannot be")
    assert line.endswith(f"put the file {name} into {cache} by hand, or use `weights: probe`")


def test_a_segmentation_downloads_no_second_backbone(cache, server, publish):
    name = "lraspp_mobilenet_v3_large"
    entry = {"task": "segmentation", "preprocess": "voc", "weights": "DEFAULT"}
    write_params(Path.cwd(), {f"models.{name}": entry})
    Path("data/preprocessed/voc/classes.txt").write_text("thing\n" * 21)
    content = saved(build(name, model_entry("segmentation"), 21).state_dict())
    file = publish(content, server, LRASPP_MobileNet_V3_Large_Weights.DEFAULT)
    for backbone in MobileNet_V3_Large_Weights:
        publish(b"no backbone", server, backbone)
    weights.main([name])
    assert server.requests == [f"/{file}"]


# What lies in the cache already


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:-1000],
        lambda content: content[:9999] + bytes([content[9999] ^ 1]) + content[10000:],
        lambda content: b"a page that says: not found",
        lambda content: b"",
    ],
)
def test_a_damaged_file_in_the_cache_is_refused_by_name_and_not_used(
    cache, server, content, publish, damage
):
    name = publish(content, server)
    cache.mkdir(parents=True)
    damaged = damage(content)
    (cache / name).write_bytes(damaged)
    found = hashlib.sha256(damaged).hexdigest()[:8]
    with refused(
        f"{cache / name}: damaged, cut off or another file: its SHA-256 begins with {found} "
        f"({len(damaged)} bytes); expected {name[8:16]}; delete it",
        f"{server.url}/{name}",
    ):
        weights.main([NAME])
    assert PATH.read_text() == "of an earlier run"
    assert server.requests == []


def test_a_file_put_there_by_hand_needs_no_server(cache, content, publish):
    name = publish(content, None)
    cache.mkdir(parents=True)
    (cache / name).write_bytes(content)
    weights.main([NAME])
    assert_written(content)


def test_a_file_of_the_right_name_cannot_run_code(cache, publish, tmp_path):
    marker = tmp_path / "it ran"
    content = saved({"features.0.weight": Code(marker)})
    cache.mkdir(parents=True)
    path = cache / publish(content, None)
    path.write_bytes(content)
    with refused(f"{path}: holds a Python object ("):
        weights.main([NAME])
    assert not marker.exists()
    torch.load(path, weights_only=False)  # the trap itself works
    assert marker.exists()


def test_a_file_of_another_network_is_refused_by_name(cache, publish):
    content = saved({"fc.weight": torch.zeros(3)})
    cache.mkdir(parents=True)
    path = cache / publish(content, None)
    path.write_bytes(content)
    with refused(f"{path}: not a checkpoint of SqueezeNet1_1_Weights.IMAGENET1K_V1: "):
        weights.main([NAME])


# What torchvision publishes


def old_names(state: dict) -> dict:
    """The names of a DenseNet's layers when its weights were published, in 2017."""
    return {
        re.sub(r"(denselayer\d+\.(?:norm|conv))([12]\.)", r"\1.\2", name): value
        for name, value in state.items()
        if not name.endswith("num_batches_tracked")
    }


@pytest.mark.parametrize(
    ("name", "task", "options"),
    [
        ("densenet121", "classification", {}),
        ("googlenet", "classification", {"aux_logits": True, "init_weights": False}),
        ("inception_v3", "classification", {"aux_logits": True, "init_weights": False}),
        ("mnasnet0_5", "classification", {}),
        ("deeplabv3_mobilenet_v3_large", "segmentation", {"aux_loss": True}),
    ],
)
def test_the_network_gives_the_logits_of_torchvisions_own(cache, publish, name, task, options):
    if task == "segmentation":
        options = options | {"weights_backbone": None}
    state, member = get_model(name, **options).state_dict(), get_model_weights(name).DEFAULT
    has_auxiliary_head = any(entry.startswith(AUXILIARY_HEADS) for entry in state)
    assert has_auxiliary_head == ("aux" in str(options))
    content = saved(old_names(state) if name == "densenet121" else state)
    cache.mkdir(parents=True)
    (cache / publish(content, None, member)).write_bytes(content)
    entry = model_entry(task, weights=member.name)
    ours = build(name, entry, len(member.meta["categories"]))
    load_state(ours, load_published(name, member), str(member))
    blob = torch.randn(1, 3, 80, 80, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = Logits(get_model(name, weights=member).eval())(blob)
        torch.testing.assert_close(Logits(ours.eval())(blob), expected, rtol=0, atol=0)


@pytest.mark.parametrize("task", ["classification", "segmentation"])
def test_every_model_has_weights_with_a_hash_and_a_published_accuracy(task: Task):
    for name in model_names(task):
        members = get_model_weights(name)
        assert "DEFAULT" in members.__members__
        for member in members:
            assert re.fullmatch("[0-9a-f]{8,}", expected_hash(cached_file(member)))
            if member.meta["categories"] is None:  # of VGG-16's features
                continue
            metrics = published_accuracy(member)["metrics"]
            wanted = {"acc@1", "acc@5"} if task == "classification" else {"mean_iou", "pixel_acc"}
            assert metrics.keys() == wanted
            assert all(20 < value < 100 for value in metrics.values())


def test_the_published_accuracy_is_written_beside_the_weights(cache, content, publish):
    cache.mkdir(parents=True)
    (cache / publish(content, None)).write_bytes(content)
    weights.main([NAME])
    assert json.loads((PATH.parent / "source.json").read_text()) == {
        "files": {},
        "published": {
            "weights": "SqueezeNet1_1_Weights.IMAGENET1K_V1",
            "dataset": "ImageNet-1K",
            "metrics": {"acc@1": 58.178, "acc@5": 80.624},
        },
    }


def test_the_published_accuracy_is_that_on_the_weights_own_dataset():
    assert published_accuracy(ResNet50_Weights.IMAGENET1K_V1) == {
        "weights": "ResNet50_Weights.IMAGENET1K_V1",
        "dataset": "ImageNet-1K",
        "metrics": {"acc@1": 76.13, "acc@5": 92.862},
    }
    assert published_accuracy(FCN_ResNet50_Weights.DEFAULT) == {
        "weights": "FCN_ResNet50_Weights.COCO_WITH_VOC_LABELS_V1",
        "dataset": "COCO-val2017-VOC-labels",
        "metrics": {"mean_iou": 60.5, "pixel_acc": 91.4},
    }
