"""Write down what results depend on besides data and params, so that DVC notices when it changes.

DVC runs this stage every time, and the others when their file in data/fingerprints/ changed.
"""

import argparse

from parity.core.cli import log, run
from parity.core.files import new_directory, write_json
from parity.core.fingerprint_files import (
    fingerprint_file,
    present_fingerprints,
    written_fingerprint,
)
from parity.core.params import load_params
from parity.core.paths import FINGERPRINTS
from parity.core.places import check_places

SHOWN = 3  # changed definitions of a stage


def main(argv: list[str] | None = None) -> None:
    argparse.ArgumentParser(prog="stages.fingerprints", description=__doc__).parse_args(argv)
    params = load_params()
    # check_params runs only when params.yaml changes; links and folders change without it.
    check_places(params)
    contents = present_fingerprints(params)
    for name, content in contents.items():
        before = written_fingerprint(name)
        if before is not None and before != content:
            log(f"{name} changed: {difference(before, content)}")
    with new_directory(FINGERPRINTS) as out:
        for name, content in contents.items():
            write_json(out / fingerprint_file(name).relative_to(FINGERPRINTS), content)


def difference(before: dict, now: dict) -> str:
    """What changed between two fingerprints, in words."""
    if "changed" in now:
        return "files outside of the pipeline"
    old, new = (flat(content) for content in (before, now))
    names = sorted(key for key in {*old, *new} if old.get(key) != new.get(key))
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def flat(content: dict) -> dict[str, object]:
    """Nested dicts as one, by the innermost keys."""
    items: dict[str, object] = {}
    for key, value in content.items():
        items |= flat(value) if isinstance(value, dict) else {key: value}
    return items


if __name__ == "__main__":
    run(main)
