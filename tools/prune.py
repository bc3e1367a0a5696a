"""Remove what the pipeline made for models, datasets and profiles that params.yaml no longer has.

dvc.lock lists what each stage wrote, with a hash. A file or folder goes while it still has that
content; one that was changed since stays and is named. DVC's cache keeps what it holds, so that an
entry that comes back is restored.
"""

import argparse
import hashlib
import json
import shutil
from contextlib import suppress
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from parity.core.cli import InputError, log, run
from parity.core.files import new_file
from parity.core.params import Params, load_params

PIPELINE, LOCK, CACHE = Path("dvc.yaml"), Path("dvc.lock"), Path(".dvc/cache/files/md5")
CHUNK_BYTES = 1 << 20
OF_FOLDER = ".dir"  # ends the hash of a folder, whose object in the cache lists its files


def main(argv: list[str] | None = None) -> None:
    argparse.ArgumentParser(prog="tools.prune", description=__doc__).parse_args(argv)
    orphans = orphaned_stages(load_params())
    removed, kept = [], []
    for stage in orphans:
        for out in read_yaml(LOCK)["stages"][stage].get("outs", []):
            path = Path(out["path"])
            if path.exists():
                unchanged = has_hash(path, out["md5"])
                (removed if unchanged else kept).append(path)
    for path in removed:
        remove(path)
    if orphans:
        forget(orphans)
        entries = sorted({stage.partition("@")[2] for stage in orphans})
        log(f"{', '.join(entries)}: no longer in params.yaml: removed {len(removed)} results")
    for path in kept:
        log(f"{path}: kept, as it is not what the pipeline wrote")


def orphaned_stages(params: Params) -> list[str]:
    """The stages of dvc.lock whose entry is gone, such as `evaluate@old`."""
    templates = read_yaml(PIPELINE).get("stages", {})
    known = {}
    for stage, template in templates.items():
        section = str(template.get("foreach", "")).removeprefix("${").removesuffix("}")
        known[stage] = getattr(params, section) if section else None
    orphans = []
    for name in read_yaml(LOCK).get("stages", {}):
        stage, at, entry = name.partition("@")
        if at and known.get(stage) is not None and entry not in known[stage]:
            orphans.append(name)
    return orphans


def read_yaml(path: Path) -> dict:
    """The content of a YAML file, empty where there is none; raises InputError for another file."""
    try:
        return YAML(typ="safe").load(path) or {}
    except FileNotFoundError:
        return {}
    except YAMLError as error:
        raise InputError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None


def has_hash(path: Path, expected: str) -> bool:
    """Whether a file or a folder has the content of a hash in dvc.lock; unknown counts as no."""
    if path.is_dir() != expected.endswith(OF_FOLDER) or (path.is_dir() and path.is_symlink()):
        return False
    if not path.is_dir():
        return md5(path) == expected
    try:
        listed = json.loads((CACHE / expected[:2] / expected[2:]).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    files = {str(file.relative_to(path)): file for file in path.rglob("*") if file.is_file()}
    hashes = {one["relpath"]: one["md5"] for one in listed}
    return files.keys() == hashes.keys() and all(
        md5(file) == hashes[name] for name, file in files.items()
    )


def md5(path: Path) -> str:
    found = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            found.update(chunk)
    return found.hexdigest()


def remove(path: Path) -> None:
    """Remove a file or folder, and the folders above it that are empty then."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    for folder in list(path.parents)[:-2]:  # data/, models/, metrics/ and plots/ stay
        with suppress(OSError):  # not empty
            folder.rmdir()


def forget(stages: list[str]) -> None:
    """Take stages out of dvc.lock."""
    from dvc.utils.serialize import dump_yaml, load_yaml

    content = load_yaml(str(LOCK))
    for stage in stages:
        del content["stages"][stage]
    with new_file(LOCK) as partial:
        dump_yaml(str(partial), content)


if __name__ == "__main__":
    run(main)
