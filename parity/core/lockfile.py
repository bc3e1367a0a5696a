"""dvc.lock and DVC's cache: what each stage wrote, and whether it is still there, byte for byte."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from parity.core.cli import InputError
from parity.core.files import (
    new_directory,
    new_file,
    open_regular,
    read_json_if_whole,
    write_json,
)

LOCK, CACHE = Path("dvc.lock"), Path(".dvc/cache/files/md5")
# What was compared with its hash, with size, time and inode: it need not be read again.
VERIFIED = Path(".dvc/tmp/verified.json")
OF_FOLDER = ".dir"  # ends the hash of a folder, whose object in the cache lists its files
CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class Output:
    """A file or folder that a stage wrote, and its MD5 as DVC computes it."""

    stage: str
    path: Path
    md5: str

    @property
    def is_folder(self) -> bool:
        return self.md5.endswith(OF_FOLDER)

    def files(self) -> dict[Path, str] | None:
        """The MD5 of each file; None for a folder whose object in the cache cannot be read."""
        if not self.is_folder:
            return {self.path: self.md5}
        try:
            listed = json.loads(cached(self.md5).read_text(encoding="utf-8"))
            return {self.path / one["relpath"]: one["md5"] for one in listed}
        except (OSError, ValueError, TypeError, KeyError):
            return None


def cached(md5: str) -> Path:
    """Where DVC's cache keeps the content of a hash."""
    return CACHE / md5[:2] / md5[2:]


def lock_damage(path: Path = LOCK) -> str | None:
    """Why a dvc.lock cannot be used; None where it can, or where there is none."""
    return _read_lock(path)[1]


def locked_outputs(path: Path = LOCK) -> Iterator[Output]:
    """What the stages of dvc.lock wrote, nothing where there is no such file.

    Raises InputError where the file cannot be read.
    """
    for stage, entry in locked_stages(path).items():
        yield from outputs_of(stage, entry)


def locked_stages(path: Path = LOCK) -> dict[str, dict]:
    """The entry of each stage in dvc.lock, none where there is no such file.

    Raises InputError where the file cannot be read.
    """
    stages, damage = _read_lock(path)
    if damage:
        raise InputError(f"{path}: damaged: {damage}")
    return stages


def outputs_of(stage: str, entry: dict) -> Iterator[Output]:
    for out in entry.get("outs", []):
        yield Output(stage, Path(out["path"]), out["md5"])


def _read_lock(path: Path) -> tuple[dict, str | None]:
    """The stages of a dvc.lock, and why it cannot be used, if so."""
    try:
        return _parse_lock(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}, None
    except UnicodeDecodeError as error:
        return {}, " ".join(str(error).split())[:120]


@lru_cache(maxsize=2)  # `make` reads it several times in a run; to parse it takes 70 ms
def _parse_lock(text: str) -> tuple[dict, str | None]:
    try:
        content = YAML(typ="safe").load(text)
    except YAMLError as error:
        return {}, " ".join(str(error).split())[:120]
    # Half a file is often valid YAML.
    if not text.endswith("\n") or not isinstance(content, dict) or "schema" not in content:
        return {}, "it is cut off"
    stages = content.get("stages") or {}
    return (stages, None) if all(map(_is_whole_entry, stages.values())) else ({}, "it is cut off")


def _is_whole_entry(stage: object) -> bool:
    if not isinstance(stage, dict) or "cmd" not in stage:
        return False
    entries = [*(stage.get("deps") or []), *(stage.get("outs") or [])]
    return all({"path", "md5", "size"} <= entry.keys() for entry in entries)


def is_as_written(output: Output) -> bool:
    """Whether an output has the content that its stage wrote: in a folder the same files."""
    if not has_its_files(output):
        return False
    return all(md5_of(file) == expected for file, expected in (output.files() or {}).items())


def has_its_files(output: Output) -> bool:
    """Whether the files of an output are there, whatever they hold, and in a folder no others."""
    files = output.files()
    if files is None:
        return False
    if not output.is_folder:
        return output.path.is_file()
    if output.path.is_symlink():
        return False
    return {file for file in output.path.rglob("*") if file.is_file()} == files.keys()


def is_in_cache(output: Output) -> bool:
    """Whether DVC's cache has an object for each file of an output, whatever it holds."""
    files = output.files()
    return files is not None and all(cached(md5).is_file() for md5 in files.values())


def overlap(one: str, other: str) -> bool:
    """Whether two paths are the same, or one is below the other."""
    return one == other or one.startswith(f"{other}/") or other.startswith(f"{one}/")


def md5_of(path: Path) -> str:
    found = hashlib.md5(usedforsecurity=False)
    with open_regular(path) as file:
        while chunk := file.read(CHUNK_BYTES):
            found.update(chunk)
    return found.hexdigest()


def md5_of_folder(files: Mapping[str, str]) -> str:
    """The hash that DVC gives to a folder, by the path and MD5 of each file in it."""
    listed = [{"md5": md5, "relpath": path} for path, md5 in sorted(files.items())]
    return hashlib.md5(json.dumps(listed).encode(), usedforsecurity=False).hexdigest() + OF_FOLDER


def damaged_files(outputs: Iterable[Output], everything: bool = False) -> dict[Path, Output]:
    """The files of outputs that do not have the content that their stage wrote.

    A file that was found right before, and has the size, time and inode that it had then, is not
    read again unless `everything` is. Missing files are no damage: DVC sees these itself.
    """
    known = {} if everything else read_verified()
    damaged, verified = compare(outputs, known)
    with suppress(OSError):  # it saves time alone
        write_json(VERIFIED, verified)
    return damaged


def compare(outputs: Iterable[Output], known: dict) -> tuple[dict[Path, Output], dict]:
    """The files of outputs that do not have the content that their stage wrote, and the states of
    those that have; a file with a state in `known` is not read."""
    damaged, verified = {}, {}
    for output in outputs:
        for path, expected in (output.files() or {}).items():
            try:
                stat = path.stat()
            except OSError:
                continue
            state = [expected, stat.st_size, stat.st_mtime_ns, stat.st_ino]
            if known.get(str(path)) != state and md5_of(path) != expected:
                damaged[path] = output
            else:
                verified[str(path)] = state
    return damaged, verified


def read_verified() -> dict:
    """The states of the files that `damaged_files` found right last."""
    return read_json_if_whole(VERIFIED) or {}


def discard_damaged_object(md5: str) -> bool:
    """Remove the object of a hash from DVC's cache where its content is another; DVC would restore
    it without a look. Returns whether it did."""
    path = cached(md5)
    if not path.is_file() or md5_of(path) == md5.removesuffix(OF_FOLDER):
        return False
    path.unlink()
    return True


def restore_outputs(outputs: Iterable[Output]) -> list[Output]:
    """Bring back from DVC's cache those outputs that are missing; DVC deletes some before their
    stage runs. Returns them.

    One whose object in the cache is missing or damaged stays missing, as does one that cannot be
    written.
    """
    restored = []
    for output in outputs:
        files = None if os.path.lexists(output.path) else output.files()
        if files and all(map(_is_whole_in_cache, files.values())):
            with suppress(OSError):
                _restore(output, files)
                restored.append(output)
    return restored


def _is_whole_in_cache(md5: str) -> bool:
    return cached(md5).is_file() and md5_of(cached(md5)) == md5


def _restore(output: Output, files: dict[Path, str]) -> None:
    if not output.is_folder:
        with new_file(output.path) as partial:
            _link(cached(output.md5), partial)
        return
    with new_directory(output.path) as partial:
        for path, md5 in files.items():
            target = partial / path.relative_to(output.path)
            target.parent.mkdir(parents=True, exist_ok=True)
            _link(cached(md5), target)


def _link(source: Path, target: Path) -> None:
    """Link to an object of the cache, as DVC does. For root, whom its write protection does not
    stop, and across disks, copy it."""
    if os.geteuid():
        with suppress(OSError):
            target.hardlink_to(source)
            return
    shutil.copyfile(source, target)
