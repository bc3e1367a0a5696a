"""torchvision's weights, downloaded from a server on this machine: nothing leaves it."""

import hashlib
import io
import json
import re
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from time import sleep

import pytest
import torch
from helpers.checkout import stage_process
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

NAME, WEIGHTS = "squeezenet1_1", SqueezeNet1_1_Weights.IMAGENET1K_V1
PATH = Path("models") / NAME / "weights.pth"
NOWHERE = "http://127.0.0.1:1"

Answer = Callable[[BaseHTTPRequestHandler], None]


class Server(ThreadingHTTPServer):
    """Answers each request with `answer`, and notes in `asked` what was asked for."""

    daemon_threads = True

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.answer: Answer = not_found
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        self.server.answer(self)

    def log_message(self, *args) -> None:
        pass


def sends(content: bytes, length: int | None = None, pieces: int = 1, pause: float = 0) -> Answer:
    """An answer of `content`, said to have `length` bytes, in pieces with a pause before each."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Length", str(length or len(content)))
        request.end_headers()
        size = len(content) // pieces + 1
        for start in range(0, len(content), size):
            sleep(pause)
            request.wfile.write(content[start : start + size])

    return answer


def not_found(request: BaseHTTPRequestHandler) -> None:
    request.send_error(404)


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as found:
        thread = Thread(target=found.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield found
        found.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def content() -> bytes:
    """What torchvision might have published: squeezenet1_1 with 1000 outputs."""
    torch.manual_seed(1)
    return saved(build(NAME, model_entry(), 1000).state_dict())


@pytest.fixture
def cache(prepared, monkeypatch) -> Path:
    """torch.hub's cache, empty, of a project whose dataset has 1000 classes; a run left weights."""
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
    """Let torchvision's enum say that the weights have this content and lie on this server."""

    def change(content: bytes, url: str, member: WeightsEnum = WEIGHTS) -> str:
        name = f"weights-{hashlib.sha256(content).hexdigest()[:8]}.pth"
        monkeypatch.setattr(member.value, "url", f"{url}/{name}")
        return name

    return change


def saved(state: object) -> bytes:
    file = io.BytesIO()
    torch.save(state, file)
    return file.getvalue()


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def assert_taken(content: bytes) -> None:
    expected = torch.load(io.BytesIO(content), weights_only=True)
    found = torch.load(PATH, weights_only=True)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


# Downloads


def test_weights_are_downloaded_once_with_progress(cache, server, content, publish, capfd):
    name = publish(content, server.url)
    server.answer = sends(content)
    weights.main([NAME])
    assert_taken(content)
    out, err = capfd.readouterr()
    assert f"downloading {server.url}/{name} to {cache / name}\n" in err and "100%" in err
    assert out == ""
    PATH.unlink()
    weights.main([NAME])
    assert_taken(content)
    assert server.asked == [f"/{name}"]
    assert files(cache) == [name]


def test_a_slow_server_may_take_longer_than_a_silent_one(cache, server, content, publish):
    publish(content, server.url)
    server.answer = sends(content, pieces=8, pause=connection.SILENCE_S / 4)
    weights.main([NAME])
    assert_taken(content)


def half_of(content: bytes) -> Answer:
    return sends(content[: len(content) // 2], length=len(content))


def another_file(content: bytes) -> Answer:
    return sends(content[:-1] + b"?")


def another_page(content: bytes) -> Answer:
    return sends(b"<html>Please sign in to the hotel's network</html>")


def refuses(content: bytes) -> Answer:
    return not_found


def falls_silent(content: bytes) -> Answer:
    def answer(request: BaseHTTPRequestHandler) -> None:
        sends(content[:1000], length=len(content))(request)
        Event().wait(2 * connection.SILENCE_S)

    return answer


def says_nothing(content: bytes) -> Answer:
    return lambda request: Event().wait(2 * connection.SILENCE_S)


def hangs_up(content: bytes) -> Answer:
    return lambda request: request.connection.close()


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (
            half_of,
            "the file is cut off, or is not the expected one: invalid hash value (expected ",
        ),
        (
            another_file,
            "the file is cut off, or is not the expected one: invalid hash value (expected ",
        ),
        (
            another_page,
            "the file is cut off, or is not the expected one: invalid hash value (expected ",
        ),
        (refuses, "HTTP Error 404: Not Found"),
        (falls_silent, "no data for 0.5 s"),
        (says_nothing, "no data for 0.5 s"),
        (hangs_up, "Remote end closed connection without response"),
    ],
)
def test_a_failed_download_leaves_nothing_and_names_two_ways_out(
    cache, server, content, publish, failure, reason
):
    name = publish(content, server.url)
    server.answer = failure(content)
    ways_out = f"put the file {name} into {cache} by hand, or use `weights: probe`"
    with refused(f"{server.url}/{name}: cannot be downloaded ({reason}", ways_out):
        weights.main([NAME])
    assert files(cache) == []
    assert files(PATH.parent) == ["weights.pth"] and PATH.read_text() == "of an earlier run"
    server.answer = sends(content)
    weights.main([NAME])
    assert_taken(content)


def test_a_server_that_is_not_there_is_named(cache, content, publish):
    name = publish(content, NOWHERE)
    with refused(f"{NOWHERE}/{name}: cannot be downloaded (", "refused", name, cache, "probe"):
        weights.main([NAME])
    assert files(cache) == [] and PATH.read_text() == "of an earlier run"


def test_a_cache_that_cannot_be_written_is_told_apart(cache, server, content, publish):
    publish(content, server.url)
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
    file = publish(content, server.url, LRASPP_MobileNet_V3_Large_Weights.DEFAULT)
    for backbone in MobileNet_V3_Large_Weights:
        publish(b"no backbone", server.url, backbone)
    server.answer = sends(content)
    weights.main([name])
    assert server.asked == [f"/{file}"]


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
    name = publish(content, server.url)
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
    assert server.asked == []


def test_a_file_put_by_hand_needs_no_server(cache, content, publish):
    name = publish(content, NOWHERE)
    cache.mkdir(parents=True)
    (cache / name).write_bytes(content)
    weights.main([NAME])
    assert_taken(content)


def test_a_file_of_the_right_name_that_wants_to_run_code_does_not(cache, publish, tmp_path):
    marker = tmp_path / "it ran"
    content = saved({"features.0.weight": Code(marker)})
    cache.mkdir(parents=True)
    path = cache / publish(content, NOWHERE)
    path.write_bytes(content)
    with refused(f"{path}: holds a Python object ("):
        weights.main([NAME])
    assert not marker.exists()
    torch.load(path, weights_only=False)  # the trap itself works
    assert marker.exists()


def test_a_file_of_another_network_is_refused_by_name(cache, publish):
    content = saved({"fc.weight": torch.zeros(3)})
    cache.mkdir(parents=True)
    path = cache / publish(content, NOWHERE)
    path.write_bytes(content)
    with refused(f"{path}: not a checkpoint of SqueezeNet1_1_Weights.IMAGENET1K_V1: "):
        weights.main([NAME])


# What torchvision publishes


def old_names(state: dict) -> dict:
    """The names that the parts of a DenseNet had when its weights were published, in 2017."""
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
def test_the_pipelines_network_gives_the_logits_of_torchvisions_own(
    cache, publish, name, task, options
):
    if task == "segmentation":
        options = options | {"weights_backbone": None}
    state, member = get_model(name, **options).state_dict(), get_model_weights(name).DEFAULT
    has_auxiliary_head = any(entry.startswith(AUXILIARY_HEADS) for entry in state)
    assert has_auxiliary_head == ("aux" in str(options))
    content = saved(old_names(state) if name == "densenet121" else state)
    cache.mkdir(parents=True)
    (cache / publish(content, NOWHERE, member)).write_bytes(content)
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
    (cache / publish(content, NOWHERE)).write_bytes(content)
    weights.main([NAME])
    assert json.loads((PATH.parent / "source.json").read_text()) == {
        "files": {},
        "published": {
            "weights": "SqueezeNet1_1_Weights.IMAGENET1K_V1",
            "dataset": "ImageNet-1K",
            "metrics": {"acc@1": 58.178, "acc@5": 80.624},
        },
    }


def test_the_published_accuracy_is_that_of_the_weights_own_data_set():
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
