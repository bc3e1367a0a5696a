from pathlib import Path

import pytest
import vl_convert
from helpers.report import write_run


@pytest.fixture(scope="session")
def written(tmp_path_factory) -> Path:
    """A report with hostile texts; the folder of its run is two above."""
    folder = tmp_path_factory.mktemp("report")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return write_run(vl_convert.javascript_bundle()).absolute()


@pytest.fixture(scope="session")
def report(written) -> str:
    return written.read_text(encoding="utf-8")
