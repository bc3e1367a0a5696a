"""Renew one section of README.md or of a page in docs/ with the last run's table, and copy pictures
to plots/readme/."""

import argparse
import shutil
from pathlib import Path

from parity.core.cli import InputError, log, run
from parity.core.files import new_file, write_text
from parity.core.markdown import replace_block
from parity.core.paths import README
from parity.core.staleness import check_current

SUMMARY = Path("plots/summary.md")
PICTURES = Path("plots/readme")
DOCS = Path("docs")


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="tools.readme", description=__doc__)
    parser.add_argument("section", help="the table between `<!-- SECTION -->` and `<!-- end -->`")
    parser.add_argument("pictures", nargs="*", type=Path, help="copied to plots/readme/")
    args = parser.parse_args(argv)

    for path in (README, SUMMARY, *args.pictures):
        if not path.is_file():
            raise InputError(f"{path}: no such file; run `make` first")
    check_current(SUMMARY)
    page = page_of(args.section)
    write_text(
        page, replace_block(page.read_text("utf-8"), args.section, SUMMARY.read_text("utf-8"))
    )
    for picture in args.pictures:
        with new_file(PICTURES / picture.name) as partial:
            shutil.copyfile(picture, partial)
    log(f"{page}: {args.section} renewed")


def page_of(section: str) -> Path:
    """The page with a section: the one in docs/ that has it, else README.md."""
    pages = sorted(DOCS.glob("*.md"))
    marker = f"<!-- {section} -->\n"
    return next((page for page in pages if marker in page.read_text("utf-8")), README)


if __name__ == "__main__":
    run(main)
