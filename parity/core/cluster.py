"""Compute tasks on many machines: the client's side of a Dask cluster.

`cluster` in params.yaml or CLUSTER in the environment chooses where tasks run: `none`, in the
client's own processes; `local:N`, in N workers on this machine; `tcp://host:port` or a scheduler
file, in the workers of that scheduler. Results do not depend on it.
"""

import json
import logging
import os
import pickle
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import uuid4

from parity.core import cluster_worker
from parity.core.cli import InputError, log
from parity.core.cluster_worker import ANSWERED, Run, enter, installed, leave, processor
from parity.core.fingerprints import DISTRIBUTIONS
from parity.core.params import PARAMS

if TYPE_CHECKING:  # it takes seconds to import, and most runs do without it
    from distributed import Client, Future

NONE, LOCAL, SCHEMES = "none", "local:", ("tcp://", "tls://")
EXPECTED = "expected none, local:N, tcp://host:port or a scheduler file"
DEATHS = 3  # workers, or processes of theirs, that one task takes down before it is given up
QUEUED = 2  # tasks of a worker: the one it works on and the next, so that it never waits
AHEAD = 4  # tasks of a worker that are sent or done before their results are due
CONNECT_S, POLL_S, START_S = 10, 1.0, 60
FOLDER = Path("data")  # where workers look for what the client wrote
# A command line of its own, as Dask's would start in another folder and outlive this process.
LOCAL_WORKERS = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from parity.core.processes import die_with_parent; die_with_parent(int(sys.argv[2])); "
    "from distributed.cli.dask_worker import main; main(sys.argv[3:])"
)

Task = TypeVar("Task")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Place:
    """Where a user wants tasks to run."""

    key: str  # that a user sets: CLUSTER, or cluster in params.yaml
    text: str

    def __str__(self) -> str:
        return f"{self.key}: {self.text}"

    @classmethod
    def chosen(cls, setting: str) -> "Place":
        """The place that CLUSTER names, or else `setting`, that of params.yaml."""
        if text := os.environ.get("CLUSTER", ""):
            return cls("CLUSTER", text)
        return cls(f"{PARAMS}: cluster", setting)

    def local_workers(self) -> int:
        """The N of `local:N`. Raises InputError for anything but a number of at least 1."""
        number = self.text.removeprefix(LOCAL)
        if not (number.isascii() and number.isdecimal() and int(number)):
            raise InputError(f"{self.key}: found {self.text!r}; {EXPECTED}")
        return int(number)

    def address(self) -> str:
        """The address of the scheduler. Raises InputError where the text gives none."""
        if self.text.startswith(SCHEMES):
            return self.text
        try:
            address = json.loads(Path(self.text).read_text(encoding="utf-8"))["address"]
        except OSError as error:
            found = f"found {self.text!r}: {os.strerror(error.errno).lower()}"
            raise InputError(f"{self.key}: {found}; {EXPECTED}") from None
        except (ValueError, LookupError, TypeError):
            address = None
        if not isinstance(address, str):
            found = f"found {self.text!r}, which holds no address"
            raise InputError(f"{self.key}: {found}; expected a file that Dask's scheduler wrote")
        return address


@dataclass(frozen=True)
class _Call:
    """Pickled, a call of `enter`: it is made where this is unpickled."""

    run: Run
    request: bytes

    def __reduce__(self) -> tuple:
        return enter, (self.run, self.request)


class Cluster:
    """The workers of a scheduler, for one run of this process."""

    def __init__(self, client: "Client", place: Place, run: Run) -> None:
        self.place, self._client, self._run = place, client, run
        self._counted_at, self._workers = 0.0, 0
        self._known: set[str] = set()  # workers whose processor was compared
        self._sent = 0

    @property
    def workers(self) -> int:
        """How many workers there are, at least one: more may come."""
        if time.monotonic() > self._counted_at + POLL_S:
            with self._scheduler_needed():
                found = len(self._client.nthreads())
            if not found and (self._workers or not self._counted_at):
                log(f"{self.place}: no worker; waiting for one")
            self._counted_at, self._workers = time.monotonic(), found
        return max(1, self._workers)

    def results(
        self,
        work: Callable[[Task], Result],
        tasks: Iterable[Task],
        *,
        in_order: bool = True,
        same_processor: bool = False,
    ) -> Iterator[tuple[Task, Result]]:
        """Yield each task with `work(task)`, in the order of the tasks, or as they are done.

        A worker computes one task at a time, in a process that stays for the run. `work`, tasks and
        results are pickled. Tasks are taken from `tasks` as workers need them. A result waits in
        its worker's memory until it is due.

        A task whose worker or process ends runs again elsewhere. Raises InputError where it has
        ended DEATHS of them, where a worker differs from this process (with `same_processor` also
        in its processor; else a line says so), and where the scheduler is gone; and what `work`
        raises, when that result is due.
        """
        run = self._run | {"processor": processor() if same_processor else None}
        todo = iter(tasks)
        finished: SimpleQueue[Future] = SimpleQueue()
        unfinished: set[str] = set()
        waiting: dict[str, tuple[Future, Task]] = {}  # in the order of the tasks
        try:
            while True:
                while not finished.empty():
                    unfinished.discard(finished.get().key)
                full = AHEAD * self.workers
                while len(unfinished) < QUEUED * self.workers and len(waiting) < full:
                    for task in todo:
                        future = self._submit(run, work, task)
                        waiting[future.key] = future, task
                        unfinished.add(future.key)
                        future.add_done_callback(finished.put)
                        break
                    else:
                        break
                if not waiting:
                    return
                due = [next(iter(waiting))] if in_order else list(waiting)
                ready = next((key for key in due if key not in unfinished), None)
                if ready is None:
                    with suppress(Empty):
                        unfinished.discard(finished.get(timeout=POLL_S).key)
                    continue
                future, task = waiting.pop(ready)
                yield task, self._result(future, task)
        finally:
            with suppress(Exception):  # the scheduler is gone
                self._client.cancel([future for future, _ in waiting.values()])

    def _submit(self, run: Run, work: Callable, task: object) -> "Future":
        import cloudpickle

        # As bytes, which the scheduler passes on: it need not have this project's code.
        call = cloudpickle.dumps(_Call(run, pickle.dumps((work, (task,)))))
        self._sent += 1
        key = f"parity-{run['name']}-{self._sent}"
        with self._scheduler_needed():
            return self._client.submit(pickle.loads, call, key=key, retries=DEATHS - 1)

    def _result(self, future: "Future", task: object) -> Any:
        from distributed.scheduler import KilledWorker

        try:
            kind, *content = future.result()
        except KilledWorker as killed:
            last = f"the last was {killed.last_worker.address}"
            number = killed.allowed_failures + 1
            raise InputError(f"{self.place}: {task}: took {number} workers down; {last}") from None
        except ChildProcessError as error:
            tried = f"tried {DEATHS} times"
            raise InputError(f"{self.place}: {task}: {error}; {tried}") from None
        except CancelledError:
            raise self._gone() from None
        except Exception as error:  # a worker of another Python, for one, cannot read the task
            if self._client.status != "running":
                raise self._gone() from None
            raise InputError(f"{self.place}: {self._failed(error)}") from None
        if kind != ANSWERED:
            raise InputError(f"{self.place}: worker {content[0]}")
        answer, worker, theirs = content
        if worker not in self._known and theirs != processor():
            own = f"this machine has {processor()}: the last bits of results may differ"
            log(f"{self.place}: worker {worker}: processor {theirs}; {own}")
        self._known.add(worker)
        error, result = pickle.loads(answer)
        if error is not None:
            log(f"{task}: ended on worker {worker}")
            raise error
        return result

    @contextmanager
    def _scheduler_needed(self) -> Iterator[None]:
        """Raise InputError in place of what Dask raises once the connection is lost."""
        try:
            yield
        except (CancelledError, OSError, TimeoutError):
            raise self._gone() from None

    def _gone(self) -> InputError:
        what = "the scheduler has gone; what is done is kept"
        return InputError(f"{self.place}: {what}; start it and run this again")

    def _failed(self, error: Exception) -> str:
        """Describe what Dask itself could not do."""
        with suppress(Exception):
            found = self._client.get_versions()
            pythons = {
                worker: versions["host"]["python"]
                for worker, versions in found["workers"].items()
                if versions["host"]["python"] != found["client"]["host"]["python"]
            }
            for worker, python in pythons.items():
                return f"worker {worker}: Python {python}; expected this one, {sys.version}"
        return f"a worker failed: {' '.join(f'{type(error).__name__}: {error}'.split())}"


@contextmanager
def open_cluster(setting: str) -> Iterator[Cluster | None]:
    """Yield the cluster that CLUSTER or else `setting`, `cluster` of params.yaml, names; None for
    `none`.

    Raises InputError for a text that names no cluster, and where no scheduler answers.
    """
    place = Place.chosen(setting)
    if place.text == NONE:
        yield None
        return
    _silence_dask()
    if place.text.startswith(LOCAL):
        with _local_workers(place) as address, _connected(place, address) as cluster:
            yield cluster
    else:
        with _connected(place, place.address()) as cluster:
            yield cluster


def _silence_dask() -> None:
    """Keep Dask from printing its progress, and tracebacks of what is one line here."""
    import distributed.config  # noqa: F401  it sets the levels of its loggers

    for name in ("distributed", "distributed.client"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


@contextmanager
def _connected(place: Place, address: str) -> Iterator[Cluster]:
    import cloudpickle
    from distributed import Client

    cloudpickle.register_pickle_by_value(cluster_worker)
    try:
        client = Client(address, timeout=CONNECT_S, set_as_default=False)
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{place}: no scheduler answers at {address}: {reason}") from None
    try:
        with _run_of_this_process() as run:
            try:
                yield Cluster(client, place, run)
            finally:
                if client.status == "running":  # else it would wait for the scheduler
                    with suppress(Exception):  # nothing is lost with it
                        client.run(leave, run["name"], on_error="ignore")
    finally:
        with suppress(Exception):
            client.close(timeout=POLL_S)


@contextmanager
def _run_of_this_process() -> Iterator[Run]:
    """Yield what workers compare themselves with, and keep a file for them to find."""
    FOLDER.mkdir(exist_ok=True)
    name = uuid4().hex
    libraries = {one for names in DISTRIBUTIONS.values() for one in names}
    file = (FOLDER / f".cluster-{name}.partial").absolute()
    try:
        file.write_text(name, encoding="utf-8")
        yield {
            "name": name,
            "folder": str(Path.cwd()),
            "token_file": str(file),
            "path": [str(cluster_worker.PACKAGE.parent), *_users_path()],
            "versions": installed(["python", "distributed", *sorted(libraries)]),
            "code": cluster_worker.code_digest(),
            "environment": cluster_worker.decisive_environment(),
        }
    finally:
        file.unlink(missing_ok=True)


def _users_path() -> list[str]:
    """The folders of PYTHONPATH, where a user's factory may be."""
    folders = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    return [str(Path(folder).absolute()) for folder in folders]


@contextmanager
def _local_workers(place: Place) -> Iterator[str]:
    """Start a scheduler in this process and workers on this machine; yield its address."""
    import dask
    from distributed import LocalCluster

    number = place.local_workers()
    how = {
        "distributed.scheduler.allowed-failures": DEATHS - 1,
        "distributed.scheduler.worker-saturation": 1.0,
    }
    with (
        dask.config.set(how),
        LocalCluster(n_workers=0, dashboard_address="127.0.0.1:0", silence_logs=False) as scheduler,
    ):
        options = ["--nworkers", str(number), "--nthreads", "1", "--memory-limit", "0"]
        options += ["--no-dashboard", "--death-timeout", "30"]
        start = [sys.executable, "-c", LOCAL_WORKERS, json.dumps(sys.path), str(os.getpid())]
        with subprocess.Popen(
            [*start, scheduler.scheduler_address, *options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # out of reach of Ctrl-C
        ) as workers:
            try:
                _wait_for_a_worker(place, scheduler, workers)
                yield scheduler.scheduler_address
            finally:
                workers.kill()


def _wait_for_a_worker(place: Place, scheduler: Any, workers: subprocess.Popen) -> None:
    deadline = time.monotonic() + START_S
    while not scheduler.scheduler.workers:
        if workers.poll() is not None or time.monotonic() > deadline:
            raise InputError(f"{place}: no worker has started within {START_S} s")
        time.sleep(0.05)
