"""Where the pipeline writes, and the rule that the user's files do not lie there.

A stage replaces its output as a whole, and DVC deletes some outputs before their stage runs.
"""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ruamel.yaml import YAML

from parity.core.cli import InputError
from parity.core.lockfile import cached, locked_outputs, md5_of
from parity.core.params import PARAMS, DatasetParams, Params
from parity.core.paths import QUICK
from parity.core.written import PARTIAL, REPOSITORY, files_below, is_own, read_written

PIPELINE = Path(__file__).parents[2] / "dvc.yaml"
# Written by the project beside the outputs of dvc.yaml.
OWN_FOLDERS = (Path(".dvc"), Path("data/coverage"), QUICK, Path("data/unfinished"))
NOT_FILES = ("imagenet", "voc", "folders")  # values of `classes`
ELSEWHERE = "move it elsewhere, for example to inputs/"


@dataclass(frozen=True)
class Place:
    """A file or folder that a stage writes; DVC's cache keeps a copy, or Git does."""

    stage: str
    path: Path
    is_cached: bool


def check_places(params: Params) -> None:
    """Raise InputError for a file of the user's that a stage would replace or delete, whether
    params.yaml names it or not, and for two stages with the same output."""
    outputs = places(params)
    _check_collisions(outputs)
    check_inputs(input_files(params), [*outputs, *locked_places()])
    _check_foreign(outputs)


def places(params: Params, pipeline: Path = PIPELINE) -> list[Place]:
    """Every output that dvc.yaml has for the entries of params.yaml."""
    found = []
    for stage, content in YAML(typ="safe").load(pipeline)["stages"].items():
        template, entries = content.get("do", content), [""]
        if section := content.get("foreach"):
            entries = [f"@{entry}" for entry in getattr(params, section.strip("${}"))]
        for kind in ("outs", "plots", "metrics"):
            for out in template.get(kind, []):
                (name, options), *_ = out.items() if isinstance(out, dict) else [(out, {})]
                found += [
                    Place(
                        stage + entry,
                        Path(name.replace("${key}", entry[1:])),
                        options.get("cache", True),
                    )
                    for entry in entries
                ]
    return found


def locked_places() -> list[Place]:
    """Every output in dvc.lock, also of an entry that is gone, which `make` removes."""
    return [Place(one.stage, one.path, True) for one in locked_outputs()]


def input_files(params: Params) -> Iterator[tuple[str, Path]]:
    """The keys of params.yaml that name a file or folder, with its path.

    A value that may be a name or a path counts as a path: a name such as `sample` or `DEFAULT`
    stands for nothing in a place of the pipeline.
    """
    for name, dataset in params.datasets.items():
        yield from _dataset_files(f"datasets.{name}", name, dataset)
    for name, model in params.models.items():
        for field in ("weights", "onnx"):
            if value := getattr(model, field):
                key = f"models.{name}.{field}"
                yield key, _expanded(key, value)


def _dataset_files(key: str, name: str, params: DatasetParams) -> Iterator[tuple[str, Path]]:
    root = _expanded(f"{key}.source", params.source)
    yield f"{key}.source", root
    for field in ("split", "train"):
        if (value := getattr(params, field)).endswith(".txt"):
            yield f"{key}.{field}", _expanded(f"{key}.{field}", value)
    if params.classes in NOT_FILES:
        return
    if params.source == "sample":
        root = Path("data") / name
    classes = Path(os.path.normpath(root / params.classes))
    if params.source != "sample" or root not in classes.parents:
        yield f"{key}.classes", classes


def _expanded(key: str, value: str) -> Path:
    try:
        return Path(value).expanduser()
    except RuntimeError:
        raise InputError(f"{PARAMS}: {key}: found {value!r}; there is no such user") from None


def check_inputs(inputs: Iterable[tuple[str, Path]], outputs: Iterable[Place]) -> None:
    """Raise InputError, naming the key, for an input that lies where the pipeline writes, or for a
    folder that has such a place in it. Links are followed."""
    taken = [*OWN_FOLDERS, *(place.path for place in outputs)]
    ours = {spelling: path for path in taken for spelling in _spellings(path)}
    for key, path in inputs:
        for spelling in _spellings(path):
            if above := next((one for one in (spelling, *spelling.parents) if one in ours), None):
                lies = f"which lies in {ours[above]}, where the pipeline writes"
                raise InputError(f"{_found(key, path)}, {lies}; {ELSEWHERE}")
            inside = [place for place in ours if spelling in place.parents]
            if inside and path.is_dir():
                holds = f"which holds {ours[min(inside)]}, where the pipeline writes"
                raise InputError(f"{_found(key, path)}, {holds}; expected a folder apart from it")


def _found(key: str, path: Path) -> str:
    real = Path(os.path.realpath(path))
    leads = "" if real == _normal(path) else f", a way to {real}"
    return f"{PARAMS}: {key}: found {str(path)!r}{leads}"


def _spellings(path: Path) -> set[Path]:
    """A path as it is written, the link that it ends in, and the file that it leads to."""
    written = _normal(path)
    link = Path(os.path.realpath(written.parent), written.name)
    return {written, link, Path(os.path.realpath(path))}


def _normal(path: Path) -> Path:
    return Path(os.path.normpath(path.absolute()))


def _check_collisions(outputs: Iterable[Place]) -> None:
    """Raise InputError for two stages that write to the same place."""
    by_path: dict[Path, Place] = {}
    for place in outputs:
        for above in (place.path, *place.path.parents):
            if other := by_path.get(above):
                both = f"{other.stage} and {place.stage} both write {above}"
                raise InputError(f"{PARAMS}: {both}; give one of the entries another name")
        by_path[place.path] = place


def foreign_files(outputs: Iterable[Place]) -> list[Path]:
    """The files at the pipeline's places that it did not write, and would replace or delete.

    Known as its own are those that dvc.lock lists, those that it wrote in an interrupted run, and
    whatever DVC's cache holds. A changed result is not foreign, nor is one that Git keeps. Outside
    of a DVC repository nothing is known, so nothing is foreign.
    """
    if not REPOSITORY.is_dir():
        return []
    locked = {one.path: one for one in locked_outputs()}
    found = []
    for place in outputs:
        if not place.is_cached or not os.path.lexists(place.path):
            continue
        known, files = locked.get(place.path), [place.path]
        listed = known.files() if known else {}
        if listed is None:  # the cache that could tell is gone
            continue
        if place.path.is_dir() and not place.path.is_symlink():
            files = [file for file in files_below(place.path) if PARTIAL not in str(file)]
        found += [file for file in files if file not in listed]
    written = read_written() if found else {}
    return sorted(file for file in found if not is_own(file, written) and not _is_in_cache(file))


def _is_in_cache(file: Path) -> bool:
    return file.is_file() and cached(md5_of(file)).is_file()


def _check_foreign(outputs: Iterable[Place]) -> None:
    files = foreign_files(outputs)
    if files:
        more = f" (and {len(files) - 1} more)" if len(files) > 1 else ""
        raise InputError(
            f"{files[0]}{more}: the pipeline did not write it and would replace it; move it away"
        )
