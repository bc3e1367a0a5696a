"""The devices that sent a report home, as tools.device_report put them side by side."""

from dataclasses import asdict, dataclass, replace
from datetime import date

from parity.core.cli import log
from parity.core.files import Damaged, read_json, write_json
from parity.core.lockfile import md5_of
from parity.core.paths import devices_path, mended_path


@dataclass(frozen=True)
class Devices:
    """A table with a row for each device, and why a device failed. `date` is when the table was
    made, and `md5` is of the model's file at that time, None where there was none."""

    header: list[str]
    rows: list[list[str]]
    failures: list[str]
    date: str
    md5: str | None
    is_stale: bool = False  # the model's file is another one now


def read_devices(model: str) -> Devices | None:
    """Read what there is; None where there is nothing, or a damaged file, which a line names."""
    record = devices_path(model)
    if not record.exists():
        return None
    try:
        found = read_json(record, lambda content: Devices(**content))
    except Damaged:
        log(f"{record}: damaged; tools.device_report writes it again")
        return None
    return replace(found, is_stale=_md5_of_file(model) != found.md5)


def write_devices(model: str, table: list[list[str]], failures: list[str]) -> None:
    """Write a table for the report of a run, with today's date; its first row is the header."""
    header, *rows = table
    today = date.today().isoformat()
    content = Devices(header, rows, failures, today, _md5_of_file(model))
    write_json(devices_path(model), asdict(content))


def _md5_of_file(model: str) -> str | None:
    """The hash of the file that OpenCV reads, None where there is none."""
    file = mended_path(model)
    return md5_of(file) if file.exists() else None
