"""Remove what the pipeline made: `make clean`. DVC's cache stays, so the next `make` restores it.

A file goes if dvc.lock lists it, it still has that content and DVC's cache holds it, or if this
project noted that it wrote it. What changed since, and what is not the pipeline's, stays and is
named. With `--all`, downloads, what `make coverage`, `make operators` and devices measured, OpenCV
for C++ and DVC's cache go as well.
"""

import argparse
import re
import shutil
from collections.abc import Iterable
from pathlib import Path

from parity.core.cli import log, run
from parity.core.files import remove
from parity.core.lockfile import cached, locked_outputs, md5_of
from parity.core.paths import OPENCV_CPP, QUICK
from parity.core.written import files_below, is_own, read_written

RESULTS = (Path("data"), Path("models"), Path("plots"))
COSTLY = tuple(Path("data") / name for name in ("coverage", "devices", "downloads", "operators"))
PICTURES = (Path("plots/coverage.png"), Path("plots/operators.png"), Path("plots/readme"))
KEPT = (*COSTLY, OPENCV_CPP, *PICTURES)
UNFINISHED, NOTE = Path("data/unfinished"), "progress.json"
PARTIAL = re.compile(r"\..+\.\d+(\.old)?\.partial")
CODE = ("parity", "stages", "tools", "tests")
# Each of these caches marks itself with such a file.
CACHES, TAG = (Path(".pytest_cache"), Path(".ruff_cache")), "CACHEDIR.TAG"
DVC_PLOTS = (Path("dvc_plots/index.html"), Path("dvc_plots/static"))
REPOSITORY, REPLACED = Path(".dvc"), Path(".dvc/tmp/replaced")
NAMED = 10  # of the files that stay


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="tools.clean", description=__doc__)
    parser.add_argument("--all", action="store_true", help="also what is costly to make again")
    everything = parser.parse_args(argv).all
    if (QUICK / REPOSITORY).is_dir():  # all in there is this project's
        shutil.rmtree(QUICK)
    kept = clean_results(RESULTS, [*KEPT, *Path("plots").glob("coverage-*.png")])
    clean_caches()
    if everything:
        kept += clean_results(COSTLY, [])
        kept += clean_repository()
        shutil.rmtree(OPENCV_CPP, ignore_errors=True)  # all in there is this project's
    for path in kept[:NAMED]:
        log(f"{path}: kept, as it is not what the pipeline wrote")
    if len(kept) > NAMED:
        log(f"and {len(kept) - NAMED} more files, kept for the same reason")


def clean_results(folders: Iterable[Path], skipped: Iterable[Path]) -> list[Path]:
    """Remove the project's own files in some folders; returns the others.

    A result that DVC's cache lacks, such as a table that Git keeps, stays without a word.
    """
    listed = {}
    for output in locked_outputs():
        listed |= output.files() or {}
    written, ours, others = read_written(), [], []
    for file in [file for folder in folders for file in files_below(folder)]:
        if any(folder in (file, *file.parents) for folder in skipped):
            continue
        md5 = listed.get(file)
        if md5 and not cached(md5).is_file():
            continue
        is_result = md5 and file.is_file() and md5_of(file) == md5
        is_ours = is_result or is_own(file, written) or is_unfinished(file)
        (ours if is_ours else others).append(file)
    for file in ours:
        remove(file)
    return others


def is_unfinished(file: Path) -> bool:
    """Whether a file is part of what an interrupted run left: under a name that only this project
    gives, or beside the note of a backend's progress."""
    if any(PARTIAL.fullmatch(part) for part in file.parts):
        return True
    folders = [folder for folder in file.parents if folder.parent.parent == UNFINISHED]
    return any((folder / NOTE).is_file() for folder in folders)


def clean_caches() -> None:
    """Remove what pytest, ruff, Python and `dvc plots` wrote about this project's own code."""
    for folder in CACHES:
        if (folder / TAG).is_file():
            shutil.rmtree(folder)
    compiled = [file for folder in CODE for file in Path(folder).rglob("__pycache__/*.pyc")]
    plots = [file for path in DVC_PLOTS for file in (path, *files_below(path)) if file.is_file()]
    for file in (*compiled, *plots):
        remove(file)


def clean_repository() -> list[Path]:
    """Remove DVC's cache and temporary files, less results that `make` set aside; returns these."""
    shutil.rmtree(REPOSITORY / "cache", ignore_errors=True)
    replaced = list(files_below(REPLACED))
    for path in (REPOSITORY / "tmp").glob("*"):
        if path == REPLACED and replaced:
            continue
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    return replaced


if __name__ == "__main__":
    run(main)
