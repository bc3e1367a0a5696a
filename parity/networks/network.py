"""PyTorch networks: torchvision's or one's own, their weights, logits and heads."""

import importlib
import pickle
import re
import sys
from collections import OrderedDict
from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import nn
from torchvision.models import WeightsEnum

from parity.core.cli import InputError
from parity.core.params import PARAMS, ModelParams, Task
from parity.core.paths import weights_path
from parity.preprocessing.splits import read_classes


class Logits(nn.Module):
    """A network whose output is one tensor: entry `output` of a dict or tuple, of a dict else
    `out`, the head of torchvision's segmentation models."""

    def __init__(self, network: nn.Module, output: str | int | None = None) -> None:
        super().__init__()
        self.network = network
        self.output = output

    def forward(self, blob: torch.Tensor) -> torch.Tensor:
        return pick_output(self.network(blob), self.output)


def pick_output(output: Any, entry: str | int | None) -> torch.Tensor:
    """The tensor of logits in what a network returned; raises LookupError where it is not there."""
    if entry is not None:
        return output[entry]
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


def build(name: str, model: ModelParams, classes: int) -> nn.Module:
    """Build the network of an entry of `models`, without weights and without auxiliary head.

    torchvision's network of that name gets `classes` outputs; nothing is downloaded, for a
    segmentation model's backbone neither. Raises InputError when torchvision has no model of this
    name for the task, or the factory cannot be called.
    """
    if model.factory:
        return make_own(name, model)
    check_name(name, model.task)
    published = published_weights(name, model)
    options: dict = {}
    if model.task == "segmentation":
        options["weights_backbone"] = None
    if name in RESCALED:
        # The auxiliary heads serve training alone; init_weights draws from scipy for a minute.
        options |= {"aux_logits": False, "init_weights": False}
        options["transform_input"] = published is not None
    if published is not None and name.startswith("vit_"):
        options["image_size"] = published.meta["min_size"][0]  # the one size that it runs
    return torchvision.models.get_model(name, weights=None, num_classes=classes, **options)


# torchvision took their published weights from a framework that scales its input to -1..1, and
# begins these networks with a layer from one scale to the other.
RESCALED = ("googlenet", "inception_v3")


def published_weights(name: str, model: ModelParams) -> WeightsEnum | None:
    """Return torchvision's weights of the name that an entry's `weights` has, if there are any.

    The name may be that of the enum's member or the full one: ResNet50_Weights.IMAGENET1K_V2.
    """
    if model.factory or model.weights is None:
        return None
    published = torchvision.models.get_model_weights(name)
    return published.__members__.get(model.weights.removeprefix(f"{published.__name__}."))


def make_own(name: str, model: ModelParams) -> nn.Module:
    """Call the factory of an entry with its arguments; raises InputError when that fails."""
    factory, key = import_factory(name, model.factory), f"{PARAMS}: models.{name}"
    try:
        network = factory(**model.arguments)
    except Exception as error:  # of the user's code
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise InputError(f"{key}: {model.factory} raised {reason}") from None
    if not isinstance(network, nn.Module):
        found = f"returned {type(network).__name__}; expected a torch.nn.Module"
        raise InputError(f"{key}.factory: {model.factory} {found}")
    return network


def import_factory(name: str, factory: str) -> Callable:
    """Import `package.module:function`; raises InputError, naming the key, when it is not there."""
    key = f"{PARAMS}: models.{name}.factory: {factory}"
    module, _, function = factory.partition(":")
    try:
        return getattr(importlib.import_module(module), function)
    except AttributeError:
        raise InputError(f"{key}: the module {module} has no {function}") from None
    except (Exception, SystemExit) as error:  # whatever the user's module raises
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        hint = "it is looked for in this folder, PYTHONPATH and the packages of .venv"
        raise InputError(f"{key}: cannot be imported ({reason}); {hint}") from None


def factory_files(name: str, factory: str) -> list[Path]:
    """The files of the factory's package, or its module, as far as it is imported."""
    import_factory(name, factory)
    package = factory.partition(":")[0].partition(".")[0]
    modules = [sys.modules[key] for key in sys.modules if key.partition(".")[0] == package]
    files = {getattr(module, "__file__", None) for module in modules}
    return sorted(Path(file) for file in files if file)


def saved_network(name: str, model: ModelParams) -> nn.Module:
    """The network of an entry of `models` with the weights that the stage `weights` wrote, ready
    for inference."""
    return load_network(weights_path(name), name, model, len(read_classes(model.preprocess)))


def load_network(weights: Path, name: str, model: ModelParams, classes: int) -> nn.Module:
    """Build the network and load the state dict in `weights`; returns it ready for inference."""
    network = build(name, model, classes)
    load_state(network, read_checkpoint(weights), source=str(weights))
    return Logits(network, model.output).eval()


def read_checkpoint(path: Path, key: str | None = None) -> dict[str, torch.Tensor]:
    """Read a state dict, bare or under `key`, and nothing that could run code.

    `weights_only=True` unpickles tensors and plain containers alone. The prefix `module.`, which
    `torch.nn.DataParallel` leaves, is taken off. Raises InputError when the file is missing,
    damaged, or holds anything else.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except pickle.UnpicklingError as error:
        raise InputError(f"{path}: {unpickling_reason(error)}") from None
    except Exception as error:  # torch.load raises whatever its unpickler met
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"{path}: not a checkpoint of PyTorch, or not all of it: {reason}"
        ) from None
    if key is not None:
        if not isinstance(state, dict) or key not in state:
            found = ", ".join(map(str, state)) if isinstance(state, dict) else type(state).__name__
            raise InputError(f"{path}: has no entry {key!r} (checkpoint_key); found {found[:200]}")
        state = state[key]
    if not is_state_dict(state):
        raise InputError(f"{path}: expected a state dict (name: tensor){hint_at_key(state)}")
    if state and all(name.startswith("module.") for name in state):
        metadata = getattr(state, "_metadata", None)
        state = OrderedDict((name.removeprefix("module."), value) for name, value in state.items())
        if metadata is not None:
            names = {name.removeprefix("module").removeprefix("."): name for name in metadata}
            state._metadata = OrderedDict((new, metadata[old]) for new, old in names.items())
    return state


def is_state_dict(state: object) -> bool:
    return isinstance(state, dict) and all(
        isinstance(name, str) and torch.is_tensor(value) for name, value in state.items()
    )


def hint_at_key(state: object) -> str:
    """Where the state dict may be, in a checkpoint that holds more than one."""
    if not isinstance(state, dict):
        return f"; found {type(state).__name__}"
    keys = [key for key, value in state.items() if isinstance(value, dict) and is_state_dict(value)]
    if not keys:
        return f"; found the entries {', '.join(map(str, state))[:200]}"
    return (
        f"; say which entry it is: `checkpoint_key: {max(keys, key=lambda key: len(state[key]))}`"
    )


def unpickling_reason(error: pickle.UnpicklingError) -> str:
    """Why a checkpoint was not unpickled, without PyTorch's advice to allow it."""
    found = re.search(r"GLOBAL ([\w.]+)", str(error))
    if not found:
        return "not a checkpoint of PyTorch, or not all of it"
    return (
        f"holds a Python object ({found[1]}), which could run code when it is loaded; expected "
        "plain tensors, as of `torch.save(network.state_dict(), path)`"
    )


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
