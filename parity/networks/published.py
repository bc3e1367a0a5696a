"""torchvision's published weights: downloaded once into torch.hub's cache, checked on each use.

A file's name ends with the first digits of its SHA-256, as in resnet50-0676ba61.pth.
"""

import hashlib
import os
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlparse

import torch

from parity.core.cli import InputError, log
from parity.core.files import open_regular
from parity.core.http import downloading
from parity.networks.checkpoints import unpickling_reason
from parity.networks.light_torchvision import WeightsEnum, torchvision

CHUNK_BYTES = 1 << 20

# The datasets of published accuracies, and this project's names of torchvision's metrics.
EVALUATED_ON = ("ImageNet-1K", "COCO-val2017-VOC-labels")
METRICS = {"acc@1": "acc@1", "acc@5": "acc@5", "miou": "mean_iou", "pixel_acc": "pixel_acc"}


def load_published(name: str, weights: WeightsEnum) -> dict[str, torch.Tensor]:
    """Return the state dict of torchvision's model `name` with these weights.

    torchvision's builder reads the file, as it knows the layer names of older files. Raises
    InputError when the file cannot be downloaded, or does not have the hash in its name.
    """
    path = cached_file(weights)
    if path.exists():
        check_hash(path, weights.url)
    else:
        download(weights.url, path)
    try:
        with plain_tensors_only():
            return torchvision.models.get_model(name, weights=weights).state_dict()
    except pickle.UnpicklingError as error:
        raise InputError(f"{path}: {unpickling_reason(error)}") from None
    except Exception as error:  # the unpickler and the model raise anything
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{path}: not a checkpoint of {weights}: {reason}") from None


def published_accuracy(weights: WeightsEnum) -> dict:
    """Return the accuracy that torchvision publishes: weights, dataset, and metrics in percent."""
    by_dataset = weights.meta["_metrics"]
    dataset = next(name for name in EVALUATED_ON if name in by_dataset)
    metrics = {ours: by_dataset[dataset].get(theirs) for theirs, ours in METRICS.items()}
    metrics = {name: value for name, value in metrics.items() if value is not None}
    return {"weights": str(weights), "dataset": dataset, "metrics": metrics}


def cached_file(weights: WeightsEnum) -> Path:
    """Return where torch.hub keeps the file, and where a user may put it by hand."""
    return Path(torch.hub.get_dir()) / "checkpoints" / Path(urlparse(weights.url).path).name


def expected_hash(path: Path) -> str:
    """Return the first digits of a file's SHA-256, which torch.hub finds in its name."""
    return torch.hub.HASH_REGEX.search(path.name)[1]


def check_hash(path: Path, url: str) -> None:
    """Raise InputError unless a file has the hash in its name.

    torch.hub checks what it downloads, but not what lies in its cache.
    """
    expected, sha256 = expected_hash(path), hashlib.sha256()
    with open_regular(path) as file:
        while chunk := file.read(CHUNK_BYTES):
            sha256.update(chunk)
    found = sha256.hexdigest()[: len(expected)]
    if found != expected:
        raise InputError(
            f"{path}: damaged, cut off or another file: its SHA-256 begins with {found} "
            f"({path.stat().st_size} bytes); expected {expected}; delete it to download it again, "
            f"or put {url} there by hand"
        )


def download(url: str, path: Path) -> None:
    """Download a file with progress on stderr; leaves no file behind on any error.

    Raises InputError, naming the URL and where to put the file by hand, when the server cannot be
    reached, refuses, falls silent, or sends another file.
    """
    log(f"downloading {url} to {path}")
    remedy = f"put the file {path.name} into {path.parent} by hand, or use `weights: probe`"
    with downloading(url, remedy):
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(path), expected_hash(path), progress=True)


@contextmanager
def plain_tensors_only() -> Iterator[None]:
    """Stop torch.load from unpickling anything that could run code, whatever its caller passes.

    torchvision's builders pass `weights_only=False`; this environment variable of PyTorch overrules
    them.
    """
    switch = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
    before = os.environ.get(switch)
    os.environ[switch] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[switch]
        else:
            os.environ[switch] = before
