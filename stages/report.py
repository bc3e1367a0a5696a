"""Write the report of all models, one page in HTML that needs nothing else.

`--open` writes nothing: it opens the last page in the browser, or prints its path. `--against`
writes another page beside it, which also says what changed since a revision of Git or an experiment
of DVC.
"""

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

from parity.core.cli import InputError, log, run
from parity.core.params import load_params
from parity.core.paths import REPORT
from parity.core.staleness import check_current


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="stages.report", description=__doc__)
    parser.add_argument("--open", action="store_true", help="show the last page")
    parser.add_argument("--print", action="store_true", help="print the last page's path")
    parser.add_argument("--against", default="", metavar="REVISION", help="compare with it")
    arguments = parser.parse_args(argv)
    if not arguments.against and (arguments.open or arguments.print):
        if not REPORT.exists():
            raise InputError(f"{REPORT}: no such file; run `make`, which writes it")
        check_current(REPORT)
        show(REPORT, arguments.open)
        return
    from parity.report.page import write_report  # which `--print` must not wait for

    if arguments.against:
        show(write_report(load_params(), arguments.against), arguments.open)
    else:
        page = write_report(load_params())
        log(f"{page}: {page.stat().st_size / 1e6:.1f} MB")


def show(page: Path, in_browser: bool) -> None:
    """Print the path of a page, and open it where there is a desktop."""
    print(f"report: {page}")
    if not in_browser:
        return
    has_display = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    opener = shutil.which("xdg-open")
    if has_display and opener and sys.stdout.isatty():
        subprocess.run([opener, str(page)], check=False)


if __name__ == "__main__":
    run(main)
