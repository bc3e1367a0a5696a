"""Write down what results depend on besides data and params, so that DVC notices when it changes.

data/fingerprints/<stage>.json has the code and the libraries of a stage, machine.json the machine
that times are measured on. datasets/<name>.json and models/<name>.json change when a file changes
that lies outside of the pipeline: an image in a folder used in place, a checkpoint, the code of a
factory, an ONNX file. findings.json has what `make locate`, `make reproducer` and
tools.device_report wrote. DVC runs this stage every time and the others when their file here
changed.
"""

import argparse
from collections.abc import Iterable
from pathlib import Path

from parity.core.cli import log, run
from parity.core.files import new_directory, read_json_if_whole, write_json
from parity.core.fingerprints import digest, fingerprint, outside_mark
from parity.core.machine import this_machine
from parity.core.params import load_params
from parity.core.paths import (
    FINGERPRINTS,
    dataset_path,
    devices_path,
    finding_files,
    source_path,
)
from parity.core.places import check_places

SHOWN = 3  # changed definitions of a stage


def main(argv: list[str] | None = None) -> None:
    argparse.ArgumentParser(prog="stages.fingerprints", description=__doc__).parse_args(argv)
    params = load_params()
    # check_params runs only when params.yaml changes; links and folders change without it.
    check_places(params)
    contents = {name: fingerprint(f"stages.{name}") for name in stage_names()}
    contents["machine"] = this_machine()
    contents["findings"] = findings(params.models)
    for folder, entries, record in (
        ("datasets", params.datasets, dataset_path),
        ("models", params.models, source_path),
    ):
        for name in entries:
            contents[f"{folder}/{name}"] = outside_mark(record(name), file_of(f"{folder}/{name}"))
    for name, content in contents.items():
        before = read_json_if_whole(file_of(name))
        if before is not None and before != content:
            log(f"{name} changed: {difference(before, content)}")
    with new_directory(FINGERPRINTS) as out:
        for name, content in contents.items():
            write_json(out / file_of(name).relative_to(FINGERPRINTS), content)


def findings(models: Iterable[str]) -> dict[str, str]:
    """The digest of each file that a tool wrote about these models for the report."""
    files = [file for name in models for file in (*finding_files(name), devices_path(name))]
    return {str(file): digest(file.read_bytes()) for file in files if file.is_file()}


def stage_names() -> list[str]:
    """The stages that have a fingerprint: all scripts of this folder but this one."""
    scripts = Path(__file__).parent.glob("[!_]*.py")
    return sorted(path.stem for path in scripts if path.name != Path(__file__).name)


def file_of(name: str) -> Path:
    """The fingerprint of a stage, of `machine`, or of `datasets/<name>` or `models/<name>`."""
    return FINGERPRINTS / f"{name}.json"


def difference(before: dict, now: dict) -> str:
    """What changed between two fingerprints, in words."""
    if "changed" in now:
        return "files outside of the pipeline"
    old, new = (flat(content) for content in (before, now))
    names = sorted(key for key in {*old, *new} if old.get(key) != new.get(key))
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def flat(content: dict) -> dict[str, object]:
    """Nested dicts as one, by the innermost keys."""
    items: dict[str, object] = {}
    for key, value in content.items():
        items |= flat(value) if isinstance(value, dict) else {key: value}
    return items


if __name__ == "__main__":
    run(main)
