"""What makes DVC faster in a process of ours. Its files stay the same, byte for byte.

For each stage DVC parses params.yaml. After a stage it parses dvc.lock, in pure Python, and
serialises all of it: 0.5 s with 3 models, and each model adds to it. Here the stages share one
parsed params.yaml, and of dvc.lock only the entry of that stage is serialised again.
"""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

from parity.core.files import new_file
from parity.core.fingerprints import Stamp, stamp
from parity.core.lockfile import LOCK

STAGES = "stages"
ENTRY = re.compile(r"^  (\S.*):\n(?:   .*\n|\n)*", re.MULTILINE)


def make_faster() -> None:
    """Replace two functions of DVC in this process: the one that writes dvc.lock, and the one that
    parses params.yaml."""
    from dvc import dvcfile
    from dvc.dependency import param

    dvcfile.modify_yaml = lock_files_fast(dvcfile.modify_yaml)
    param.load_path = parsed_once(param.load_path)


def lock_files_fast(modify_yaml: Callable) -> Callable:
    """Wrap DVC's function that yields a file's content and then writes it. Other files than
    dvc.lock are left to it, and a dvc.lock that it did not write, as one with comments."""
    files: dict[Path, LockFile] = {}

    @wraps(modify_yaml)
    def modified(path: str | os.PathLike, *args, **kwargs) -> AbstractContextManager[dict]:
        real = Path(path).resolve()
        if real.name == LOCK.name:
            file = files.setdefault(real, LockFile(real))
            if file.is_plain():
                return file.modified()
        return modify_yaml(path, *args, **kwargs)

    return modified


def parsed_once(load: Callable) -> Callable:
    """Wrap a function that parses a file, so that it does so once for each change of the file."""
    known: dict[Path, tuple[Stamp, Any]] = {}

    @wraps(load)
    def loaded(path: str | os.PathLike, *args, **kwargs) -> Any:
        real = Path(path).resolve()
        now = stamp(real)
        if real not in known or known[real][0] != now:
            known[real] = now, load(path, *args, **kwargs)
        return known[real][1]

    return loaded


class LockFile:
    """A lock file: its content, and the text of each stage's entry."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: Stamp = None
        self._content: dict[str, Any] = {}
        self._texts: dict[str, tuple[object, str]] = {}

    def is_plain(self) -> bool:
        """Whether the file is as DVC writes it, or missing. Reads it where it has changed."""
        from dvc.utils.serialize import load_yaml

        now = stamp(self._path)
        if now is None:
            self._stamp, self._content, self._texts = None, {}, {}
            return True
        if self._stamp == now:
            return True
        self._content, self._texts = load_yaml(self._path), {}
        text = self._path.read_text(encoding="utf-8")
        stages = self._content.get(STAGES) or {}
        for entry in ENTRY.finditer(text):
            if entry[1] in stages:
                self._texts[entry[1]] = stages[entry[1]], entry[0]
        is_plain = "".join(self._text()) == text
        self._stamp = now if is_plain else None
        return is_plain

    @contextmanager
    def modified(self) -> Iterator[dict]:
        """Yield the content, of a plain file; write what the block makes of it.

        An entry of `stages` that changes is replaced, as DVC does, not changed in place. An
        interrupted write leaves the file as it was.
        """
        self._stamp = None
        yield self._content
        with new_file(self._path) as partial, partial.open("w", encoding="utf-8") as file:
            file.writelines(self._text())
        self._stamp = stamp(self._path)

    def _text(self) -> Iterator[str]:
        from dvc.utils.serialize import dumps_yaml

        for key, value in self._content.items():
            if key == STAGES and value:
                yield f"{STAGES}:\n"
                self._texts = {name: self._entry(name, one) for name, one in value.items()}
                yield from (text for _, text in self._texts.values())
            else:
                yield dumps_yaml({key: value})

    def _entry(self, name: str, value: object) -> tuple[object, str]:
        """Return a stage's entry with its text. The entry is kept with it, so that no later one
        takes its identity."""
        from dvc.utils.serialize import dumps_yaml

        known = self._texts.get(name)
        if known and known[0] is value:
            return known
        return value, dumps_yaml({STAGES: {name: value}}).removeprefix(f"{STAGES}:\n")
