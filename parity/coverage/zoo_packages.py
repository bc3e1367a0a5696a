"""The packages of a zoo of `coverage.zoo`, in data/coverage/zoo/<zoo>."""

from pathlib import Path

from parity.core.cli import InputError, log
from parity.core.files import new_directory, read_json_if_whole, write_json
from parity.core.params import PARAMS, ZooParams
from parity.core.processes import ProcessEnded, Worker
from parity.coverage.packages import FOLDER, enter_folder, install

SECTION = "coverage.zoo"
NOTE = "packages.json"  # what a folder was installed with


def zoo_folder(zoo: str) -> Path:
    return FOLDER / "zoo" / zoo


def provide_zoo(zoo: str, entry: ZooParams, limit_s: float) -> None:
    """Install the packages of a zoo where its folder does not hold exactly these, and import its
    factory, in a process of its own.

    Raises InputError, naming the key, where one of the two fails or takes longer than `limit_s`.
    """
    folder, key = zoo_folder(zoo), f"{PARAMS}: {SECTION}.{zoo}"
    wanted = {"packages": entry.packages}
    if entry.packages and read_json_if_whole(folder / NOTE) != wanted:
        log(f"installing {', '.join(entry.packages)} into {folder}")
        with new_directory(folder) as partial:
            install(entry.packages, partial, f"{key}.packages")
            write_json(partial / NOTE, wanted)
    with Worker(limit_s, quiet=True) as worker:
        try:
            worker.call(_import, zoo, entry.factory)
        except ProcessEnded as error:
            raise InputError(f"{key}.factory: {entry.factory}: {error}") from None


def _import(zoo: str, factory: str) -> None:
    from parity.networks.factory import import_factory

    enter_zoo(zoo)
    import_factory(zoo, factory, SECTION)


def enter_zoo(zoo: str) -> None:
    """Let this process import what is installed for a zoo."""
    enter_folder(zoo_folder(zoo).resolve())
