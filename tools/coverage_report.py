"""Write the answer of `make coverage` again: metrics/coverage.json, COVERAGE.md and
plots/coverage.png.

After a change of the gate's `exactness`, `rel`, `rel_backstop` or `spread`, judge the cells again;
this needs every cell of the record in data/coverage/cells/.

With `--compare`, print what got better and what got worse between two records, given as files or
revisions of Git; exit code 1 if anything got worse.
"""

import argparse
import sys

from parity.core.cli import run
from parity.core.files import write_text
from parity.core.markdown import replace_block
from parity.core.params import load_params
from parity.core.paths import README
from parity.coverage.record import RECORD, read_record
from parity.coverage.record_diff import compare_records
from parity.coverage.report import readme_block, report_full


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="tools.coverage_report", description=__doc__)
    parser.add_argument("--compare", nargs=2, metavar=("OLD", "NEW"))
    parser.add_argument("--readme", action="store_true", help="renew the table in README.md")
    args = parser.parse_args(argv)
    if args.readme:
        block = readme_block(read_record(RECORD))
        write_text(README, replace_block(README.read_text("utf-8"), "coverage", block))
    elif args.compare:
        lines, worse = compare_records(*map(read_record, args.compare))
        print("\n".join(lines))
        if worse:
            sys.exit(1)
    else:
        report_full(load_params())


if __name__ == "__main__":
    run(main)
