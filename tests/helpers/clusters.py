"""A scheduler and workers on loopback, started as a user starts them."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from helpers.checkout import ROOT

# As docs/cluster.md says; tests find their own functions by the path.
SETTINGS = {
    "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "2",
    "DASK_DISTRIBUTED__SCHEDULER__WORKER_SATURATION": "1.0",
}
WORKER = ["--nthreads", "1", "--no-nanny", "--no-dashboard", "--memory-limit", "0"]


class TestCluster:
    """A scheduler with the workers that a test starts; `file` is its scheduler file."""

    __test__ = False

    def __init__(self, folder: Path) -> None:
        self.folder, self.file = folder, folder / "scheduler.json"
        self.workers: list[subprocess.Popen] = []
        self.start_scheduler()

    def start_scheduler(self) -> None:
        self.file.unlink(missing_ok=True)
        options = ["--host", "127.0.0.1", "--port", "0", "--no-dashboard"]
        options += ["--scheduler-file", str(self.file)]
        self.scheduler = self._start("scheduler", *options)
        deadline = time.monotonic() + 60
        while not (self.file.exists() and self.file.read_text().endswith("}")):
            assert self.scheduler.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)

    def add_worker(self, *options: str, path: str = "", **environment: str) -> subprocess.Popen:
        """Start a worker; `path` comes first in its PYTHONPATH."""
        folders = [path, str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")]
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, folders))
        options = ("--scheduler-file", str(self.file), *(options or WORKER))
        self.workers.append(self._start("worker", *options, **environment))
        return self.workers[-1]

    def stop_workers(self) -> None:
        for process in self.workers:
            process.kill()
            process.wait()
        self.workers.clear()

    def stop(self) -> None:
        self.stop_workers()
        self.scheduler.kill()
        self.scheduler.wait()

    def _start(self, what: str, *options: str, **environment: str) -> subprocess.Popen:
        with (self.folder / f"{what}.log").open("a") as output:
            return subprocess.Popen(
                [sys.executable, "-m", f"distributed.cli.dask_{what}", *options],
                cwd=self.folder,
                env=os.environ | SETTINGS | environment,
                stdout=output,
                stderr=output,
            )


@contextmanager
def started(folder: Path, workers: int) -> Iterator[TestCluster]:
    cluster = TestCluster(folder)
    try:
        for _ in range(workers):
            cluster.add_worker()
        yield cluster
    finally:
        cluster.stop()
