"""Write the answer of `make coverage` again: metrics/coverage.json, COVERAGE.md and
plots/coverage.png.

After a change of the gate's `exactness`, `rel`, `rel_backstop` or `spread`, judge the cells again;
this needs every cell of the record in data/coverage/cells/.

With `--pages`, only write plots/coverage.html, and plots/coverage-<zoo>.html of each other zoo that
has a record: the same table as a page with filters, from the records alone.

With `--zoo`, all of this is about another zoo than torchvision: COVERAGE-<zoo>.md and so on.

With `--compare`, print what got better and what got worse between two records, given as files or
revisions of Git; exit code 1 if anything got worse.
"""

import argparse
import sys

from parity.core.cli import log, run
from parity.core.files import write_text
from parity.core.markdown import replace_block
from parity.core.params import TORCHVISION, load_params
from parity.core.paths import README
from parity.coverage.record import RECORD, Record, read_record
from parity.coverage.record_diff import compare_records
from parity.coverage.report import (
    YARDSTICK,
    exactness_histogram,
    exactness_table,
    has_exactness,
    readme_block,
    report_full,
)
from parity.coverage.selection import parse_zoo
from parity.report.coverage_page import write_coverage_pages


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="tools.coverage_report", description=__doc__)
    parser.add_argument("--compare", nargs=2, metavar=("OLD", "NEW"))
    parser.add_argument("--zoo", default="", help="of coverage.zoo; default: torchvision")
    parser.add_argument("--pages", action="store_true", help="only write the pages in HTML")
    parser.add_argument("--readme", action="store_true", help="renew the tables in README and docs")
    args = parser.parse_args(argv)
    if args.readme:
        renew_pages(read_record(RECORD))
        return
    if args.pages:
        for page in write_coverage_pages():
            log(str(page))
        return
    zoo = parse_zoo(args.zoo, load_params()) if args.zoo else TORCHVISION
    if args.compare:
        lines, worse = compare_records(*(read_record(source, zoo) for source in args.compare))
        print("\n".join(lines))
        if worse:
            sys.exit(1)
    else:
        report_full(load_params(), zoo)
        write_coverage_pages()


def renew_pages(record: Record) -> None:
    """Write the tables of the record into README.md and docs/exactness.md.

    Raises InputError where a page has no section for its table.
    """
    blocks = {README: {"coverage": readme_block(record)}}
    if has_exactness(record):
        blocks[README]["exactness"] = exactness_table(record)
        blocks[YARDSTICK] = {"histogram": exactness_histogram(record)}
    texts = {page: page.read_text("utf-8") for page in blocks}
    for page, contents in blocks.items():
        for block, content in contents.items():
            texts[page] = replace_block(texts[page], block, content, page)
    for page, text in texts.items():
        write_text(page, text)


if __name__ == "__main__":
    run(main)
