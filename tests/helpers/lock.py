"""Results as a run of the pipeline leaves them: files, dvc.lock and the objects of DVC's cache."""

import hashlib
import json
from pathlib import Path

from ruamel.yaml import YAML

CACHE = Path(".dvc/cache/files/md5")


def md5_of(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


def write(path: str | Path, content: bytes) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_bytes(content)


def add_to_cache(content: bytes, suffix: str = "") -> str:
    name = md5_of(content) + suffix
    write(CACHE / name[:2] / name[2:], content)
    return name


def result(path: str, content: bytes | dict[str, bytes], *, cached: bool = True) -> dict:
    """Write a file, or a folder of files; return it as an output in dvc.lock."""
    if isinstance(content, bytes):
        write(path, content)
        md5 = add_to_cache(content) if cached else md5_of(content)
        return {"hash": "md5", "size": len(content), "path": path, "md5": md5}
    for name, data in content.items():
        write(Path(path, name), data)
        add_to_cache(data)
    listed = [{"md5": md5_of(data), "relpath": name} for name, data in content.items()]
    md5 = add_to_cache(json.dumps(listed).encode(), ".dir")
    return {"hash": "md5", "size": 1, "path": path, "md5": md5}


def lock_results(**stages: list[dict]) -> None:
    """Write dvc.lock; of `stage__entry` the name is `stage@entry`."""
    entries = {name.replace("__", "@"): {"cmd": "x", "outs": out} for name, out in stages.items()}
    write_lock(entries)


def write_lock(stages: dict[str, dict]) -> None:
    with Path("dvc.lock").open("w", encoding="utf-8") as file:
        YAML(typ="safe").dump({"schema": "2.0", "stages": stages}, file)


def locked_entry(outs: list[str], deps: tuple[str, ...] = (), params: tuple[str, ...] = ()) -> dict:
    """The entry of a stage that has just made `outs` of `deps` and of keys of params.yaml."""
    entry: dict = {"cmd": "x", "outs": [_locked(path) for path in outs]}
    entry["deps"] = [_locked(path) for path in deps]
    content = YAML(typ="safe").load(Path("params.yaml"))
    entry["params"] = {"params.yaml": {key: _value(content, key) for key in params}}
    return entry


def _locked(name: str) -> dict:
    path = Path(name)
    if not path.is_dir():
        content = path.read_bytes()
        return {"path": name, "hash": "md5", "md5": md5_of(content), "size": len(content)}
    files = {
        file.relative_to(path).as_posix(): md5_of(file.read_bytes())
        for file in path.rglob("*")
        if file.is_file()
    }
    listed = [{"md5": md5, "relpath": name} for name, md5 in sorted(files.items())]
    md5 = add_to_cache(json.dumps(listed).encode(), ".dir")
    return {"path": name, "hash": "md5", "md5": md5, "size": 1}


def _value(content: dict, dotted: str) -> object:
    for key in dotted.split("."):
        content = content[key]
    return content
