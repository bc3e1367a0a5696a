"""PyTorch networks: built by torchvision's name, their logits, and their heads."""

from collections import OrderedDict
from difflib import get_close_matches
from pathlib import Path

import numpy as np
import torch
import torchvision
from torch import nn

from stages.common.backends import Forward
from stages.common.cli import InputError
from stages.common.machine import cores
from stages.common.params import PARAMS, BackendParams, Task


class Logits(nn.Module):
    """A network whose output is one tensor: of a segmentation model's dict, the `out` head."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, blob: torch.Tensor) -> torch.Tensor:
        output = self.network(blob)
        return output["out"] if isinstance(output, dict) else output


def model_names(task: Task) -> list[str]:
    """The names of torchvision's models for a task."""
    models = torchvision.models
    module = models.segmentation if task == "segmentation" else models
    return models.list_models(module=module)


def check_name(name: str, task: Task) -> None:
    """Raise InputError when torchvision has no model of this name for the task."""
    known = model_names(task)
    if name not in known:
        near = get_close_matches(name, known, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise InputError(
            f"{PARAMS}: models.{name}: torchvision has no {task} model of this name{hint}"
        )


def build(name: str, task: Task, classes: int) -> nn.Module:
    """Build torchvision's network `name` for `classes` outputs, untrained, without auxiliary head.

    Nothing is downloaded, for a segmentation model's backbone neither. Raises InputError when
    torchvision has no model of this name for the task.
    """
    check_name(name, task)
    options: dict = {}
    if task == "segmentation":
        options["weights_backbone"] = None
    if name in ("googlenet", "inception_v3"):
        # The auxiliary heads serve training alone. transform_input belongs to torchvision's
        # own pretrained weights; init_weights draws from scipy and takes a minute.
        options |= {"aux_logits": False, "init_weights": False, "transform_input": False}
    return torchvision.models.get_model(name, weights=None, num_classes=classes, **options)


def load_network(weights: Path, name: str, task: Task, classes: int) -> nn.Module:
    """Build the network and load the state dict in `weights`; returns it ready for inference."""
    network = build(name, task, classes)
    load_state(network, read_checkpoint(weights), source=str(weights))
    return Logits(network).eval()


def load_pytorch(network: nn.Module, params: BackendParams) -> Forward:
    """Return the network's forward pass; sets the threads of PyTorch in this process."""
    torch.set_num_threads(params.threads or cores())

    def forward(blob: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return network(torch.from_numpy(blob)).numpy()

    return forward


def read_checkpoint(path: Path) -> dict[str, torch.Tensor]:
    """Read a state dict, and nothing that could run code (`weights_only=True`).

    Raises InputError when the file is missing, damaged, or holds anything else.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except Exception as error:  # torch.load raises whatever its unpickler met
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{path}: not a checkpoint of plain tensors: {reason}") from None
    if not isinstance(state, dict) or not all(
        isinstance(name, str) and torch.is_tensor(value) for name, value in state.items()
    ):
        raise InputError(f"{path}: expected a state dict (name: tensor)")
    return state


def load_state(network: nn.Module, state: dict[str, torch.Tensor], source: str) -> None:
    """Load a state dict into a network; entries of an auxiliary head are left out.

    Raises InputError, naming the first entry that does not fit, otherwise.
    """
    expected = network.state_dict()
    metadata = getattr(state, "_metadata", None)  # the versions that modules look for on loading
    state = OrderedDict(
        (name, value) for name, value in state.items() if not name.startswith(AUXILIARY_HEADS)
    )
    if metadata is not None:
        state._metadata = metadata
    for name, value in expected.items():
        if name not in state and name.endswith(".num_batches_tracked"):
            continue  # older checkpoints have none, and inference needs none
        if name not in state:
            raise InputError(f"{source}: has no entry {name}, which the model needs")
        if state[name].shape != value.shape:
            found, wanted = tuple(state[name].shape), tuple(value.shape)
            raise InputError(f"{source}: {name}: found shape {found}; the model needs {wanted}")
    for name in state:
        if name not in expected:
            raise InputError(f"{source}: entry {name} belongs to no part of the model")
    network.load_state_dict(state, strict=False)  # each entry was looked at above


AUXILIARY_HEADS = ("aux_classifier.", "aux1.", "aux2.", "AuxLogits.")


def heads(network: nn.Module, classes: int, blob: torch.Tensor) -> list[nn.Module]:
    """The layers that make the logits: those run last with `classes` outputs.

    One for most networks, two where the network adds up two of them (LR-ASPP).
    """
    ran: list[nn.Module] = []
    hooks = [
        layer.register_forward_hook(lambda module, *_: ran.append(module))
        for layer in network.modules()
        if getattr(layer, "out_features", getattr(layer, "out_channels", None)) == classes
    ]
    with torch.inference_mode():
        network(blob)
    for hook in hooks:
        hook.remove()
    adds_two = torchvision.models.segmentation.lraspp.LRASPPHead
    summed = any(isinstance(module, adds_two) for module in network.modules())
    return ran[-2:] if summed else ran[-1:]
