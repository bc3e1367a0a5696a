"""The files in data/fingerprints/: what results depend on besides data and params.

<stage>.json has the code and the libraries of a stage, machine.json the machine that times are
measured on. datasets/<name>.json and models/<name>.json change when a file changes that lies
outside of the pipeline: an image in a folder used in place, a checkpoint, the code of a factory, an
ONNX file. findings.json has what `make locate`, `make reproducer` and tools.device_report wrote.
"""

from collections.abc import Iterable
from pathlib import Path

from parity.core.files import read_json_if_whole
from parity.core.fingerprints import ROOT, digest, fingerprint, outside_mark
from parity.core.machine import this_machine
from parity.core.params import Params
from parity.core.paths import FINGERPRINTS, dataset_path, devices_path, finding_files, source_path

WRITER = "fingerprints"  # the one stage without a fingerprint


def present_fingerprints(params: Params) -> dict[str, dict]:
    """The content of each fingerprint as it is now, by its name."""
    contents = {name: fingerprint(f"stages.{name}") for name in stage_names()}
    contents["machine"] = this_machine()
    contents["findings"] = findings(params.models)
    for folder, entries, record in (
        ("datasets", params.datasets, dataset_path),
        ("models", params.models, source_path),
    ):
        for name in entries:
            before = fingerprint_file(f"{folder}/{name}")
            contents[f"{folder}/{name}"] = outside_mark(record(name), before)
    return contents


def written_fingerprint(name: str) -> dict | None:
    """What the last run wrote; None without a whole file."""
    return read_json_if_whole(fingerprint_file(name))


def fingerprint_file(name: str) -> Path:
    """The file of a stage, of `machine` or `findings`, or of `datasets/<name>` or
    `models/<name>`."""
    return FINGERPRINTS / f"{name}.json"


def findings(models: Iterable[str]) -> dict[str, str]:
    """The digest of each file that a tool wrote about these models for the report."""
    files = [file for name in models for file in (*finding_files(name), devices_path(name))]
    return {str(file): digest(file.read_bytes()) for file in files if file.is_file()}


def stage_names() -> list[str]:
    """The stages that have a fingerprint."""
    scripts = (ROOT / "stages").glob("[!_]*.py")
    return sorted(path.stem for path in scripts if path.stem != WRITER)
