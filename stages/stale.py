"""Print the stages whose inputs changed where DVC does not look: outside of the pipeline.

These are the files of a dataset that is used in place, a checkpoint, the code of a factory or an
ONNX file of one's own, and the machine that the times were measured on. `make` runs the stages that
are printed.
"""

import argparse
from pathlib import Path

from parity.core.cli import run
from parity.core.files import read_json
from parity.core.fingerprints import stamp
from parity.core.machine import machine
from parity.core.params import Params, load_params
from parity.core.paths import benchmark_path, dataset_path, onnx_path, source_path


def main(argv: list[str] | None = None) -> None:
    argparse.ArgumentParser(prog="stages.stale", description=__doc__).parse_args(argv)
    for stage in stale_stages(load_params()):
        print(stage)


def stale_stages(params: Params) -> list[str]:
    """The stages that ran, on inputs or a machine that are no longer the same."""
    stale = [f"fetch@{name}" for name in params.datasets if _files_changed(dataset_path(name))]
    for name in params.models:
        if _files_changed(source_path(name)):
            stale.append(f"weights@{name}")
        if onnx_path(name).exists() and _machine_changed(benchmark_path(name)):
            stale.append(f"benchmark@{name}")
    return stale


def _files_changed(record: Path) -> bool:
    if not record.exists():
        return False
    content = read_json(record)
    root = Path(content.get("root", ""))
    return any(stamp(root / file) != then for file, then in content.get("files", {}).items())


def _machine_changed(record: Path) -> bool:
    if not record.exists():
        return False
    measured_on = read_json(record)["environment"]
    return any(measured_on[key] != value for key, value in machine().items())


if __name__ == "__main__":
    run(main)
