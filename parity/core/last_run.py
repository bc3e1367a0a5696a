"""The last whole run of the pipeline, and whether anything has changed since.

DVC needs some seconds to find out that no stage has to run. It compares each stage's command,
constants and inputs with dvc.lock; all inputs are outputs of other stages, but for params.yaml. So
where dvc.lock, what it lists, the fingerprints, and the files that DVC is set up by are as the last
whole run left them, DVC would run nothing.
"""

import hashlib
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

from parity.core.files import read_json_if_whole, write_json
from parity.core.fingerprint_files import present_fingerprints, written_fingerprint
from parity.core.lockfile import LOCK, has_its_files, locked_outputs
from parity.core.params import PARAMS, Params
from parity.core.places import check_places

NOTE = Path(".dvc/tmp/last_run.json")
SET_UP_BY = (
    *(Path(PARAMS), Path("dvc.yaml"), Path(".dvcignore")),
    *(Path(".dvc/config"), Path(".dvc/config.local")),
)


def set_up() -> dict[str, str | None]:
    """The version of DVC, and the digest of each file that it is set up by."""
    return {"dvc": version("dvc")} | {str(path): _digest(path) for path in SET_UP_BY}


def note_whole_run(before: Mapping[str, str | None]) -> None:
    """Note that all stages ran, or needed not; `before` is what `set_up` returned when the run
    began. Nothing is noted if a file was edited meanwhile."""
    NOTE.unlink(missing_ok=True)
    if set_up() == before:
        write_json(NOTE, {**before, str(LOCK): _digest(LOCK)})


def is_up_to_date(params: Params) -> bool:
    """Whether everything is as the last whole run left it.

    `lockfile.damaged_files` compares the content of outputs; this function only sees whether they
    are there. Raises InputError where a file of the user's lies in the place of an output.
    """
    noted = read_json_if_whole(NOTE)
    if noted is None or noted != {**set_up(), str(LOCK): _digest(LOCK)}:
        return False
    if not all(map(has_its_files, locked_outputs())):
        return False
    check_places(params)
    present = present_fingerprints(params)
    return all(written_fingerprint(name) == content for name, content in present.items())


def _digest(path: Path) -> str | None:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except FileNotFoundError:
        return None
