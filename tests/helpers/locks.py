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


def lock_results(**stages: list[dict]) -> None:
    """Write a dvc.lock of results; `stage__entry` stands for the name `stage@entry`."""
    write_lock(
        {name.replace("__", "@"): {"cmd": "x", "outs": outs} for name, outs in stages.items()}
    )


def result(path: str, content: bytes | dict[str, bytes], *, in_cache: bool = True) -> dict:
    """Write a file, or a folder of files, and its objects in DVC's cache; return it as an output in
    dvc.lock."""
    files = {path: content} if isinstance(content, bytes) else content
    for name, data in files.items():
        write(path if name == path else f"{path}/{name}", data)
        if in_cache:
            write(cached(md5_of(data)), data)
    return _locked(path)


def write(path: str | Path, content: bytes) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_bytes(content)


def md5_of(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


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
    return md5_of(path.read_bytes())


def _value(content: dict, dotted: str) -> object:
    for key in dotted.split("."):
        content = content[key]
    return content
