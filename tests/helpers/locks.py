"""A dvc.lock by hand, of what is on the disk."""

import hashlib
import json
from pathlib import Path

from ruamel.yaml import YAML

from parity.core.lockfile import LOCK, cached, md5_of_folder


def locked_entry(outs: list[str], deps: tuple[str, ...] = (), params: tuple[str, ...] = ()) -> dict:
    """The entry of a stage that has just made `outs` of `deps` and of keys of params.yaml."""
    entry: dict = {"cmd": "x", "outs": [_locked(path) for path in outs]}
    entry["deps"] = [_locked(path) for path in deps]
    content = YAML(typ="safe").load(Path("params.yaml"))
    entry["params"] = {"params.yaml": {key: _value(content, key) for key in params}}
    return entry


def write_lock(stages: dict[str, dict]) -> None:
    with LOCK.open("w", encoding="utf-8") as file:
        YAML(typ="safe").dump({"schema": "2.0", "stages": stages}, file)


def _locked(name: str) -> dict:
    path = Path(name)
    if not path.is_dir():
        return {"path": name, "hash": "md5", "md5": _md5(path), "size": path.stat().st_size}
    files = {
        file.relative_to(path).as_posix(): _md5(file) for file in path.rglob("*") if file.is_file()
    }
    found = cached(md5_of_folder(files))
    found.parent.mkdir(parents=True, exist_ok=True)
    listed = [{"md5": md5, "relpath": name} for name, md5 in sorted(files.items())]
    found.write_text(json.dumps(listed), encoding="utf-8")
    return {"path": name, "hash": "md5", "md5": md5_of_folder(files), "size": 1}


def _md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


def _value(content: dict, dotted: str) -> object:
    for key in dotted.split("."):
        content = content[key]
    return content
