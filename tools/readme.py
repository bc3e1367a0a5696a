"""Renew one section of README.md with the last run's table, and copy its pictures."""

import argparse
import shutil
from pathlib import Path

from parity.core.cli import InputError, log, run
from parity.core.files import write_text
from parity.core.markdown import replace_block
from parity.core.paths import README

SUMMARY = Path("plots/summary.md")
PICTURES = Path("plots/readme")


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="tools.readme", description=__doc__)
    parser.add_argument("section", help="the table between `<!-- SECTION -->` and `<!-- end -->`")
    parser.add_argument("pictures", nargs="*", type=Path, help="copied to plots/readme/")
    args = parser.parse_args(argv)

    for path in (README, SUMMARY, *args.pictures):
        if not path.is_file():
            raise InputError(f"{path}: no such file; run `make` first")
    write_text(
        README, replace_block(README.read_text("utf-8"), args.section, SUMMARY.read_text("utf-8"))
    )
    for picture in args.pictures:
        PICTURES.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(picture, PICTURES / picture.name)
    log(f"{README}: {args.section} renewed")


if __name__ == "__main__":
    run(main)
