"""Archives, harmless and malicious."""

import io
import tarfile
from pathlib import Path

import pytest


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


EVIL = [
    (member("../evil"), "refused: '../evil' leaves the folder"),
    (member("good/../../evil"), "refused: 'good/../../evil' leaves the folder"),
    (member("/tmp/evil"), "refused: '/tmp/evil' is an absolute path"),
    (member("evil", tarfile.SYMTYPE, "/etc"), "'evil' is a link to an absolute path"),
    (member("evil", tarfile.SYMTYPE, "../.."), "'evil' is a link that leaves the folder"),
    (member("evil", tarfile.LNKTYPE, "../x"), "'evil' is a link that leaves the folder"),
    (member("evil", tarfile.CHRTYPE), "'evil' is a device or another special file"),
    (member("evil", tarfile.FIFOTYPE), "'evil' is a device or another special file"),
    (member("e\nvil", tarfile.FIFOTYPE), r"'e\nvil' is a device or another special file"),
]

every_evil = pytest.mark.parametrize(("evil", "reason"), EVIL, ids=[text for _, text in EVIL])


def write_tar(path: Path, files: dict[str, bytes], *others: tarfile.TarInfo) -> Path:
    """Write a tar archive, compressed if its name says so, with `others` as its last members."""
    compression = "gz" if path.suffix in (".gz", ".tgz") else ""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, f"w:{compression}") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for info in others:
            archive.addfile(info)
    return path
