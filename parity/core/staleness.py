"""Whether a recorded result is that of the present inputs, by dvc.lock. DVC takes seconds."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path

from ruamel.yaml import YAML

from parity.core.cli import InputError
from parity.core.lockfile import (
    LOCK,
    Output,
    compare,
    locked_stages,
    md5_of_folder,
    outputs_of,
    overlap,
    read_verified,
)
from parity.core.params import PARAMS, load_params


def check_current(path: Path) -> None:
    """Raise InputError where a file is not what the stages make of the present inputs.

    By dvc.lock a stage wrote the file, with the constants of params.yaml, from what other stages
    wrote in the same way, and none of these files has another content now. For a file that is not
    there, as after `make clean`, dvc.lock alone counts. Code, libraries and the user's own files
    are as the last run saw them.
    """
    load_params()
    for reason in _reasons(path):
        raise InputError(f"{path}: not of the present inputs: {reason}; `make` renews it")


def _reasons(path: Path) -> Iterator[str]:
    """Why a file is not current, from the stage that wrote it up to the first."""
    stages = locked_stages()
    outputs = [one for stage, entry in stages.items() for one in outputs_of(stage, entry)]
    todo = [one.stage for one in outputs if one.path == path]
    if not todo:
        yield f"{LOCK} knows no stage that wrote it"
        return
    params, known = YAML(typ="safe").load(PARAMS), read_verified()

    @cache  # many stages read the same file
    def origin(path: Path) -> tuple[str | None, set[str]]:
        writers = [one for one in outputs if overlap(str(one.path), str(path))]
        return _md5_as_written(path, writers), {one.stage for one in writers}

    for stage in todo:  # which grows
        entry = stages[stage]
        damaged, _ = compare(outputs_of(stage, entry), known)
        yield from (f"{file} is not what {stage} wrote" for file in damaged)
        for key, value in entry.get("params", {}).get(str(PARAMS), {}).items():
            if _value(params, key) != value:
                yield f"{PARAMS}: {key} has changed"
        for dep in entry.get("deps", []):
            source = Path(dep["path"])
            md5, writers = origin(source)
            if md5 not in (dep["md5"], None):
                yield f"{source} has changed since {stage} read it"
            todo += writers - {*todo}


def _md5_as_written(path: Path, writers: list[Output]) -> str | None:
    """The hash of a file or folder by what stages wrote at, in or around it; None where that is not
    known: a folder's files are in DVC's cache."""
    files = {}
    for one in writers:
        if one.path == path:
            return one.md5
        files |= one.files() or {}
    below = {
        file.relative_to(path).as_posix(): md5
        for file, md5 in files.items()
        if path in file.parents
    }
    return files.get(path) or (md5_of_folder(below) if below else None)


def _value(params: object, dotted: str) -> object:
    """The value of a key of params.yaml, None where it is not there."""
    for key in dotted.split("."):
        params = params.get(key) if isinstance(params, dict) else None
    return params
