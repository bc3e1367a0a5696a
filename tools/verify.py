"""Compare all results with dvc.lock, byte for byte: `make verify`.

`make` compares those alone whose size, time or inode changed since they were last found right. Exit
code 1 where a result, or its copy in DVC's cache, is not what its stage wrote.
"""

import argparse
import sys

from parity.core.cli import log, run
from parity.core.lockfile import cached, damaged_files, locked_outputs, md5_of


def main(argv: list[str] | None = None) -> None:
    argparse.ArgumentParser(prog="tools.verify", description=__doc__).parse_args(argv)
    outputs = list(locked_outputs())
    damaged = damaged_files(iter(outputs), everything=True)
    objects = {md5 for one in outputs for md5 in (one.files() or {}).values()}
    wrong = [md5 for md5 in sorted(objects) if cached(md5).is_file() and md5_of(cached(md5)) != md5]
    for path, output in damaged.items():
        print(f"{path}: not what {output.stage} wrote; `make` makes it again")
    for md5 in wrong:
        print(f"{cached(md5)}: damaged; remove it, and `make` makes again what it held")
    log(f"{len(outputs)} results compared with dvc.lock: {len(damaged)} differ")
    if damaged or wrong:
        sys.exit(1)


if __name__ == "__main__":
    run(main)
