"""What `make coverage` found: metrics/coverage.json, COVERAGE.md and plots/coverage.png.

With `--compare` two such records, files or revisions of Git: what got better and what worse. Exit
code 1 where anything got worse.
"""

import argparse
import sys

from parity.core.cli import run
from parity.core.files import write_text
from parity.core.markdown import replace_block
from parity.core.params import load_params
from parity.core.paths import README
from parity.coverage.report import RECORD, compare, read_record, report, short


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="tools.coverage_report", description=__doc__)
    parser.add_argument("--compare", nargs=2, metavar=("OLD", "NEW"))
    parser.add_argument("--readme", action="store_true", help="renew the table in README.md")
    args = parser.parse_args(argv)
    if args.readme:
        record = read_record(str(RECORD))
        write_text(README, replace_block(README.read_text("utf-8"), "coverage", short(record)))
        return
    if not args.compare:
        report(load_params())
        return
    old, new = map(read_record, args.compare)
    lines, worse = compare(old, new)
    print("\n".join(lines))
    if worse:
        sys.exit(1)


if __name__ == "__main__":
    run(main)
