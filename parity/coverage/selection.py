"""What a run of `make coverage` tries: models, and combinations of exporter, engine and OpenCV."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from parity.core.cli import InputError
from parity.core.params import TORCHVISION, Params, Task
from parity.coverage.cells import Cell, Combination
from parity.coverage.opencv_versions import installed_version

EXPORTERS = ("dynamo", "torchscript")
OPSETS = range(11, 27)
# `auto` tries the new engine, then the classic one: no engine of its own.
NO_ENGINE = "auto"


@dataclass(frozen=True)
class Selection:
    """Models of a zoo with their tasks, each to try in every combination.

    `narrowed`: the selection lacks a cell of the default run, which is all models x both exporters
    at `export.opset` x every engine of the installed OpenCV. An added version of OpenCV or opset
    does not narrow a selection.
    """

    models: Mapping[str, Task]
    combinations: tuple[Combination, ...]
    narrowed: bool
    zoo: str = TORCHVISION

    def cells(self, model: str) -> list[Cell]:
        """The cells of a model, in the order of `combinations`."""
        return [Cell(model, self.models[model], one, self.zoo) for one in self.combinations]


def select(
    models: Mapping[str, Task],
    exporters: Sequence[tuple[str, int]],
    engines: str,
    available: Mapping[str, Sequence[str]],
    params: Params,
    zoo: str = TORCHVISION,
) -> Selection:
    """Combine models of a zoo, exporters with their opsets, and engines.

    `engines` is a list as a user writes it, `available` the engines of each chosen version of
    OpenCV. Raises InputError for an engine that a version does not have.
    """
    chosen = {
        version: parse_engines(engines, version, known) for version, known in available.items()
    }
    # All combinations of an exporter in a row: its files are kept for one exporter at a time.
    combinations = tuple(
        Combination(exporter, opset, engine, version)
        for exporter, opset in exporters
        for version, names in chosen.items()
        for engine in names
    )
    installed = installed_version()
    default = {
        Combination(exporter, params.export.opset, engine, installed)
        for exporter in EXPORTERS
        for engine in default_engines(available.get(installed, ()))
    }
    all_models = models.keys() == parse_models("", params, zoo).keys()
    narrowed = not (all_models and default and default <= set(combinations))
    return Selection(models, combinations, narrowed, zoo)


def default_engines(known: Iterable[str]) -> list[str]:
    return [name for name in known if name != NO_ENGINE]


def parse_zoo(text: str, params: Params) -> str:
    """Return the name of a zoo; an empty text means torchvision.

    Raises InputError for a zoo that `coverage.zoo` does not have.
    """
    zoo = text.strip() or TORCHVISION
    check_known([zoo], "ZOO", [TORCHVISION, *params.coverage.zoo])
    return zoo


def parse_models(text: str, params: Params, zoo: str = TORCHVISION) -> dict[str, Task]:
    """Return the models of a list with their tasks; an empty list means all models of the zoo, of
    torchvision those with at most `coverage.max_parameters`.

    Raises InputError for a model that the zoo does not list, and for one of torchvision's that is
    larger.
    """
    if zoo != TORCHVISION:
        entry = params.coverage.zoo[zoo]
        listed = [model.name for model in entry.models]
        return dict.fromkeys(parse_names(text, "MODELS", listed) or listed, entry.task)
    from parity.coverage.zoo import million_parameters, zoo_models

    most = params.coverage.max_parameters
    models = zoo_models(float("inf"))
    if not text.strip():
        return zoo_models(most)
    names = parse_names(text, "MODELS", models)
    for name in names:
        if million_parameters(name) > most:
            found = f"{name} has {million_parameters(name):.0f} million parameters"
            raise InputError(f"MODELS: {found}; coverage.max_parameters is {most:g}")
    return {name: models[name] for name in names}


def parse_exporters(text: str, params: Params) -> list[tuple[str, int]]:
    """Return the exporters of a list such as `dynamo torchscript:18` with their opsets; the default
    opset is `export.opset`, an empty list means all exporters.

    Raises InputError for an unknown exporter or opset.
    """
    found = []
    for item in split(text) or EXPORTERS:
        name, colon, opset = item.partition(":")
        check_known([name], "EXPORTERS", EXPORTERS)
        if colon and not (opset.isdecimal() and int(opset) in OPSETS):
            expected = f"{OPSETS[0]} to {OPSETS[-1]}"
            raise InputError(f"EXPORTERS: {name}: found opset {opset!r}; expected {expected}")
        found.append((name, int(opset or params.export.opset)))
    return list(dict.fromkeys(found))


def parse_engines(text: str, version: str, known: Sequence[str]) -> list[str]:
    """Return the engines of a list; an empty list means all of this version of OpenCV.

    Raises InputError for an engine that the version does not have.
    """
    return parse_names(text, f"ENGINES, OpenCV {version}", known) or default_engines(known)


def parse_names(text: str, what: str, known: Iterable[str]) -> list[str]:
    """Split a list of names and check them; raises InputError for a name that is not `known`."""
    names = list(dict.fromkeys(split(text)))
    check_known(names, what, known)
    return names


def split(text: str) -> list[str]:
    """Split a list at commas and spaces."""
    return re.findall(r"[^\s,]+", text)


def check_known(names: Iterable[str], what: str, known: Iterable[str]) -> None:
    for name in names:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"expected one of {', '.join(known)}"
            raise InputError(f"{what}: found {name!r}; {hint}")
