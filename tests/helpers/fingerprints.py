"""What the stage `fingerprints` sees of files outside of the pipeline."""

import shutil

from parity.core.files import read_json
from parity.core.paths import FINGERPRINTS
from stages import fingerprints


def changed_outside() -> list[str]:
    """The entries with a file that is no longer as a stage noted it: `datasets/<name>` and
    `models/<name>`."""
    shutil.rmtree(FINGERPRINTS, ignore_errors=True)
    fingerprints.main([])
    files = sorted(path for path in FINGERPRINTS.glob("*/*.json") if read_json(path)["changed"])
    return [str(path.relative_to(FINGERPRINTS).with_suffix("")) for path in files]
