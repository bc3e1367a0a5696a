"""The last whole run of the pipeline, and whether anything has changed since.

DVC needs some seconds to find out that no stage has to run. It compares the command, constants and
inputs of each stage with dvc.lock. All inputs are outputs of other stages, but for params.yaml. If
none of these has changed since the last whole run, DVC would run nothing: params.yaml, dvc.yaml,
dvc.lock, the outputs that it lists, the fingerprints, and DVC's configuration.
"""

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

from ruamel.yaml import YAML

from parity.core.files import read_json_if_whole, write_json
from parity.core.fingerprint_files import WRITER, present_fingerprints, written_fingerprint
from parity.core.fingerprints import Stamp, digest, stamps
from parity.core.lockfile import (
    LOCK,
    has_its_files,
    is_in_cache,
    locked_outputs,
    locked_stages,
    overlap,
)
from parity.core.params import PARAMS, Params
from parity.core.places import check_places, places

NOTE = Path(".dvc/tmp/last_run.json")
PIPELINE = Path("dvc.yaml")
CONFIGURED_BY = (Path(".dvcignore"), Path(".dvc/config"), Path(".dvc/config.local"))
SET_UP_BY = (PARAMS, PIPELINE, *CONFIGURED_BY)


def set_up() -> dict[str, Stamp]:
    """The stamp of each file that DVC is set up by."""
    return stamps(SET_UP_BY)


def note_whole_run(before: Mapping[str, Stamp]) -> None:
    """Note that every stage ran or was up to date; `before` is what `set_up` returned when the run
    began. Nothing is noted if one of those files was written meanwhile."""
    NOTE.unlink(missing_ok=True)
    if set_up() == before:
        write_json(NOTE, _present())


def is_up_to_date(params: Params) -> bool:
    """Whether everything is as the last whole run left it.

    `lockfile.damaged_files` compares the content of outputs; this function only sees whether they
    are there. Raises InputError where a stage would replace a file of the user's.
    """
    noted = read_json_if_whole(NOTE)
    if noted is None or noted != _present() or not _is_closed():
        return False
    uncached = {place.path for place in places(params) if not place.is_cached}
    for output in locked_outputs():
        if not has_its_files(output) or (output.path not in uncached and not is_in_cache(output)):
            return False
    check_places(params)
    present = present_fingerprints(params)
    return all(written_fingerprint(name) == content for name, content in present.items())


def _is_closed() -> bool:
    """Whether no stage reads anything but params.yaml and outputs of stages, and only one runs
    every time. A stage that somebody added may do otherwise."""
    templates = YAML(typ="safe").load(PIPELINE)["stages"]
    every_time = [
        name for name, one in templates.items() if one.get("do", one).get("always_changed")
    ]
    inputs = {dep["path"] for entry in locked_stages().values() for dep in entry.get("deps", [])}
    outputs = [str(output.path) for output in locked_outputs()]
    return every_time == [WRITER] and all(
        any(overlap(one, output) for output in outputs) for one in inputs - {str(PARAMS)}
    )


def _present() -> dict[str, str | None]:
    """The version of DVC, and the digest of each file that it is set up by and of dvc.lock."""
    return {"dvc": version("dvc")} | {str(path): _digest(path) for path in (*SET_UP_BY, LOCK)}


def _digest(path: Path) -> str | None:
    return digest(path.read_bytes()) if path.is_file() else None
