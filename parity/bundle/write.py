"""Write a bundle: a folder and a zip file of the same content, whole or not at all."""

import hashlib
import os
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from parity.backends.contract import BackendFailure
from parity.bundle.content import DECODING, FORMAT, PREPROCESSING, Content, Unproven
from parity.bundle.device import RUN_ONNX, verify
from parity.bundle.page import page
from parity.bundle.samples import samples_entry
from parity.core.cli import InputError
from parity.core.files import new_directory, new_file, write_json, write_text

MODEL, SUMS, VERIFY = "model.onnx", "SHA256SUMS", "verify.json"
CPP = [RUN_ONNX.parent / "cpp" / name for name in ("run_onnx.cpp", "CMakeLists.txt")]
# The date and mode of every file in the zip, so that a second run gives the same bytes.
MADE = (1980, 1, 1, 0, 0, 0)
MODE = 0o644


def write_bundle(folder: Path, content: Content, force: bool) -> Content:
    """Write a bundle into `folder` and into the zip file beside it, after verifying it here.

    With `force` a bundle that does not verify is written all the same, and says so. Returns what
    was written. Raises Unproven without `force`, and InputError where something else is in the way.
    """
    archive = folder.with_name(f"{folder.name}.zip")
    refuse_others(folder, archive)
    with new_directory(folder) as partial, new_file(archive) as partial_archive:
        fill(partial, content)
        failure = failure_of(partial)
        if failure and not content.forced:
            if not force:
                raise Unproven(failure)
            content = replace(content, forced=True, verdict=failure)
            describe(partial, content)
        write_sums(partial)
        pack(partial, partial_archive)
    return content


def failure_of(folder: Path) -> str | None:
    """Return why a bundle does not verify here; None where it does."""
    write_sums(folder)
    try:
        return verify(folder)
    except (BackendFailure, InputError) as error:
        return str(error).replace(f"{folder}/", "")


def refuse_others(folder: Path, archive: Path) -> None:
    """Raise InputError where a folder or file to write exists and is not a bundle."""
    if os.path.lexists(folder) and not (folder / VERIFY).is_file():
        raise InputError(f"{folder}: exists and is not a bundle; move it away")
    if os.path.lexists(archive):
        try:
            with zipfile.ZipFile(archive) as packed:
                packed.getinfo(VERIFY)
        except (KeyError, OSError, zipfile.BadZipFile):
            raise InputError(f"{archive}: exists and is not a bundle; move it away") from None


def fill(folder: Path, content: Content) -> None:
    """Write all files of a bundle but SHA256SUMS."""
    shutil.copyfile(content.onnx, folder / MODEL)
    for file in content.data_files:  # at the place that the ONNX file names
        target = folder / file.relative_to(content.onnx.parent)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
    preprocessing = {
        "task": content.task,
        "preprocess": content.preprocess,
        "flags": content.flags,
    }
    write_json(folder / "preprocessing.json", preprocessing)
    write_text(folder / "labels.txt", "".join(f"{_line(name)}\n" for name in content.classes))
    for script in (RUN_ONNX, *filter(Path.is_file, CPP)):
        shutil.copyfile(script, folder / script.name)
    for name in ("images", "pixels", "blobs", "logits"):
        (folder / name).mkdir()
    for name, example in zip(content.names(), content.examples, strict=True):
        shutil.copyfile(example.file, folder / image_path(name, example.file))
        png = cv2.imencode(".png", cv2.cvtColor(example.pixels, cv2.COLOR_RGB2BGR))[1]
        (folder / f"pixels/{name}.png").write_bytes(png.tobytes())
        for kind, array in (("blobs", example.blob), ("logits", example.logits)):
            write_array(folder / f"{kind}/{name}.npy", array)
    describe(folder, content)


def describe(folder: Path, content: Content) -> None:
    """Write the files that say what a bundle proves."""
    write_json(folder / VERIFY, verification(content))
    write_text(folder / "models.yml", samples_entry(content, hash_of(content.onnx, "sha1")))
    write_text(folder / "README.md", page(content, (folder / CPP[0].name).exists()))


def verification(content: Content) -> dict:
    """Return the content of verify.json: no null, and no list in a list, which OpenCV's FileStorage
    does not read."""
    opencv = {key: getattr(content.opencv, key) for key in ("engine", "backend", "target")}
    return {
        "format": FORMAT,
        "model": content.model,
        "task": content.task,
        "verdict": content.verdict,
        "forced": int(content.forced),
        "reference": content.reference,
        "opencv": {"version": cv2.__version__, **opencv},
        "limits": {
            "decoding": DECODING,
            "preprocessing": PREPROCESSING,
            "rel": content.rel,
            "agreement": content.agreement,
        },
        "images": [
            {
                "name": name,
                "image": image_path(name, example.file),
                "pixels": f"pixels/{name}.png",
                "blob": f"blobs/{name}.npy",
                "logits": f"logits/{name}.npy",
            }
            for name, example in zip(content.names(), content.examples, strict=True)
        ],
    }


def image_path(name: str, file: Path) -> str:
    return f"images/{name}{file.suffix}"


def _line(text: str) -> str:
    return " ".join(text.split())


def write_array(path: Path, array: np.ndarray) -> None:
    """Write an .npy file that a reader of version 1.0, little-endian, in C order understands."""
    with path.open("wb") as file:
        array = np.ascontiguousarray(array, "<f4")
        np.lib.format.write_array(file, array, version=(1, 0), allow_pickle=False)


def write_sums(folder: Path) -> None:
    """Write SHA256SUMS, of every file but itself, in the format of sha256sum."""
    lines = [
        f"{hash_of(file, 'sha256')}  {file.relative_to(folder).as_posix()}\n"
        for file in sorted(folder.rglob("*"))
        if file.is_file() and file != folder / SUMS
    ]
    write_text(folder / SUMS, "".join(lines))


def hash_of(path: Path, algorithm: str) -> str:
    found = hashlib.new(algorithm)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            found.update(block)
    return found.hexdigest()


def pack(folder: Path, archive: Path) -> None:
    """Write a folder as a zip file, the same bytes each time. Nothing is compressed: weights hardly
    shrink, and versions of zlib differ in their output."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as packed:
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            entry = zipfile.ZipInfo(file.relative_to(folder).as_posix(), MADE)
            entry.file_size = file.stat().st_size
            entry.create_system, entry.external_attr = 3, MODE << 16  # 3: Unix
            with file.open("rb") as source, packed.open(entry, "w") as target:
                shutil.copyfileobj(source, target, 1 << 20)
