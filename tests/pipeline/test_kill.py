"""A `make` that is killed at random moments: the next ones end with the same results."""

import json
import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest
from helpers.dvc_runs import (
    CLS,
    ENVIRONMENT,
    SMALL_PIPELINE,
    digests,
    edit,
    make,
    make_command,
)

from parity.core.lockfile import lock_damage

pytestmark = pytest.mark.pipeline

KILLS, BUDGET_S = 5, 50
SEED = "KILL_SEED"  # repeats the moments of a run
MADE = ("data", "models", "metrics", "plots", ".dvc/cache", "dvc.lock")
COMPARED = (
    *("data/textures", "data/preprocessed", f"data/predictions/{CLS}", f"models/{CLS}"),
    *(f"metrics/{CLS}.json", f"metrics/stability/{CLS}.json"),
)


@pytest.fixture
def unmade(copy) -> Path:
    """A pipeline of one model that has never run."""
    edit(copy, {"models": {CLS: SMALL_PIPELINE["models"][CLS]}})
    for name in MADE:
        path = copy / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return copy


def test_make_killed_at_random_moments_ends_with_the_same_results(pipeline, unmade):
    seed = int(os.environ.get(SEED, random.randrange(10**6)))
    print(f"{SEED}={seed}")  # which pytest shows when the test fails
    moment, began, hit = random.Random(seed), time.monotonic(), []
    for _ in range(KILLS):
        if time.monotonic() - began < BUDGET_S:
            hit.append(killed_make(unmade, moment.randrange(5), moment.uniform(0, 2)))
    print("killed in", *hit)

    done = make(unmade)
    assert done.code == 0 and "1 of 1 models pass" in done.output, done.output
    assert digests(unmade, *COMPARED) == digests(pipeline, *COMPARED)
    assert verdict(unmade) == verdict(pipeline)
    assert not [path for path in unmade.rglob("*") if path.name.endswith(".partial")]
    assert not (unmade / "data/unfinished").exists()
    assert lock_damage(unmade / "dvc.lock") is None
    again = make(unmade)
    assert (again.code, again.stages) == (0, []), again.output
    assert make(unmade, "verify").code == 0


def verdict(root: Path) -> dict:
    return json.loads((root / "metrics/gate.json").read_text(encoding="utf-8"))["models"][CLS]


def killed_make(root: Path, stages: int, seconds: float) -> str:
    """Kill make and all its processes some seconds after it has begun a number of stages; return
    the last of these stages."""
    output = root / ".dvc/tmp/output"
    with output.open("w", encoding="utf-8") as file:
        process = subprocess.Popen(
            make_command(root),
            cwd=root,
            env=ENVIRONMENT,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
    while process.poll() is None and len(begun(output)) < stages:
        time.sleep(0.02)
    time.sleep(seconds)
    running = psutil.Process(process.pid).children(recursive=True)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not psutil.wait_procs(running, 10)[1]
    return begun(output)[-1] if begun(output) else "no stage"


def begun(output: Path) -> list[str]:
    """The stages that DVC began to run, less `fingerprints`."""
    lines = output.read_text(encoding="utf-8").splitlines()
    names = [line.split("'")[1] for line in lines if line.startswith("Running stage '")]
    return [name for name in names if name != "fingerprints"]
