"""Where this checkout and the real images are, and its modules started as a person starts them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

REAL = ROOT.parent / "shared/real"

needs_real = pytest.mark.skipif(not REAL.is_dir(), reason=f"{REAL} is not there")


def stage_process(stage: str, *args: str, cwd: Path, **options) -> subprocess.Popen:
    """Start a stage or a tool as a person does, but in another folder than the repository."""
    package = "stages" if (ROOT / "stages" / f"{stage}.py").exists() else "tools"
    command = [sys.executable, "-m", f"{package}.{stage}", *args]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    pipe = subprocess.PIPE
    options |= {"stdout": pipe, "stderr": pipe, "text": True}
    return subprocess.Popen(command, cwd=cwd, env=environment, **options)
