"""Put the reports of devices side by side: `python -m tools.device_report out.json ...`.

A report is what `run_onnx.py --verify --report out.json`, or its C++ sibling, wrote. Prints a table
and writes it to plots/devices.md. If params.yaml lists the model, the next `make report` shows the
table too. Exit code 1 if a device failed.
"""

import argparse
import sys
from pathlib import Path

from parity.bundle.reports import device_rows, device_table, failures_of, read_report
from parity.core.cli import log, run
from parity.core.files import write_text
from parity.core.params import PARAMS, load_params
from parity.report.devices import write_devices

TABLE = Path("plots/devices.md")


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="tools.device_report", description=__doc__.splitlines()[0]
    )
    parser.add_argument("reports", nargs="+", type=Path, help="a JSON file for each device")
    reports = [read_report(path) for path in parser.parse_args(argv).reports]
    table, model = device_table(reports), reports[0].model
    is_listed = PARAMS.exists() and model in load_params().models
    print(table, end="")
    write_text(TABLE, table)
    if is_listed:
        write_devices(model, device_rows(reports), failures_of(reports))
        log(f"`make report` shows this table under {model}")
    else:
        log(f"{PARAMS}: no model {model!r}, so the report of `make` does not show this table")
    if not all(report.passed for report in reports):
        sys.exit(1)


if __name__ == "__main__":
    run(main)
