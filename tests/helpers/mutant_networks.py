"""Small exports of networks of all families, by both exporters, to put faults into."""

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import torch
import torchvision
from torch import nn
from torch.onnx import TrainingMode
from torchvision.models.convnext import CNBlockConfig

from parity.networks.export import quiet_logs
from parity.networks.random_weights import spread_logits

CLASSES = 10
CALIBRATION = 8  # blobs
EXPORTERS = ("dynamo", "torchscript", "unfolded")  # unfolded: TorchScript's, batch norms kept


class Recurrent(nn.Module):
    """A convolution whose columns a GRU reads, as a text recognizer does."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 16, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(16)
        self.gru = nn.GRU(16, 24, bidirectional=True, batch_first=True)
        self.scale = nn.LayerNorm(48)
        self.head = nn.Linear(48, CLASSES)

    def forward(self, blob):
        features = torch.relu(self.norm(self.conv(blob))).mean(dim=2).transpose(1, 2)
        return self.head(self.scale(self.gru(features)[0]).mean(dim=1))


class Segmenter(nn.Module):
    """The logits of a segmentation network."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, blob):
        return self.network(blob)["out"]


def _classifier(name: str) -> Callable[[], nn.Module]:
    options = {"init_weights": False, "aux_logits": False} if name == "googlenet" else {}
    return lambda: torchvision.models.get_model(name, weights=None, num_classes=CLASSES, **options)


def _lraspp() -> nn.Module:
    create = torchvision.models.segmentation.lraspp_mobilenet_v3_large
    return Segmenter(create(weights=None, weights_backbone=None, num_classes=CLASSES))


def _vit() -> nn.Module:
    return torchvision.models.VisionTransformer(
        image_size=32, patch_size=8, num_layers=3, num_heads=2, hidden_dim=48, mlp_dim=96,
        num_classes=CLASSES,
    )  # fmt: skip


def _convnext() -> nn.Module:
    settings = [CNBlockConfig(16, 32, 2), CNBlockConfig(32, 64, 2), CNBlockConfig(64, None, 1)]
    return torchvision.models.ConvNeXt(settings, num_classes=CLASSES)


# Each network with the side of its image.
NETWORKS: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "squeezenet1_1": (_classifier("squeezenet1_1"), 64),
    "mobilenet_v3_small": (_classifier("mobilenet_v3_small"), 64),
    "lraspp": (_lraspp, 64),
    "resnet18": (_classifier("resnet18"), 64),
    "shufflenet": (_classifier("shufflenet_v2_x0_5"), 64),
    "densenet121": (_classifier("densenet121"), 64),
    "googlenet": (_classifier("googlenet"), 64),
    "vit": (_vit, 32),
    "convnext": (_convnext, 32),
    "gru": (Recurrent, 32),
}


def blob_of(name: str) -> np.ndarray:
    """Return the network's blob, float32 (1, 3, H, W): smooth shapes with some noise."""
    return _images(name)[:1].numpy()


def _images(name: str) -> torch.Tensor:
    side = NETWORKS[name][1]
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randn(CALIBRATION, 3, side // 8, side // 8, generator=generator)
    smooth = nn.functional.interpolate(coarse, scale_factor=8, mode="bilinear")
    return smooth + 0.2 * torch.randn(smooth.shape, generator=generator)


def export_network(name: str, folder: Path) -> dict[str, Path]:
    """Return the paths of a network's exports, written if they are not there, by exporter."""
    paths = {exporter: folder / f"{name}-{exporter}.onnx" for exporter in EXPORTERS}
    if all(path.exists() for path in paths.values()):
        return paths
    torch.manual_seed(0)
    network, images = NETWORKS[name][0]().eval(), _images(name)
    spread_logits(network, [images], CLASSES, 0.5)
    for exporter, path in paths.items():
        options: dict = {"opset_version": 18, "input_names": ["input"], "output_names": ["output"]}
        options |= {"dynamo": exporter == "dynamo"}
        if exporter == "dynamo":
            options |= {"verbose": False, "external_data": False}
        elif exporter == "unfolded":
            options |= {"training": TrainingMode.PRESERVE, "do_constant_folding": False}
        with warnings.catch_warnings(), quiet_logs():
            warnings.simplefilter("ignore")
            torch.onnx.export(network, (images[:1],), str(path), **options)
        onnx.checker.check_model(onnx.load(path))
    return paths
