"""What runs in a worker of a cluster: it checks that it fits the client, then has a process of its
own compute. Only that process imports networks, engines and images.
"""

import hashlib
import os
import platform
import socket
from collections.abc import Iterable
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from parity.core.machine import CLIENT_CORES, cores, cpu_model
from parity.core.processes import Worker, answer

PACKAGE = Path(__file__).parents[1]
# OpenBLAS, oneDNN, OpenCV and the others compute differently by these variables, and Dask sets some
# of them for its workers.
DECISIVE = ("ATEN_", "DNNL_", "KMP_", "MKL_", "OMP_", "ONEDNN_", "OPENBLAS_", "OPENCV_", "TORCH_")
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")

# What each run of a client says of itself: plain values only, as they arrive before it is known
# whether the worker has the same code.
Run = dict
REFUSED, ANSWERED = "refused", "answered"

_processes: dict[str, Worker] = {}  # of the run that this worker computes for, by the run's name


def enter(run: Run, request: bytes) -> tuple:
    """Compute a request of a run, in the folder of its client.

    It is sent by value: a worker finds the project's code only once it is in that folder.
    """
    import os
    import socket
    import sys
    from pathlib import Path

    try:
        seen = Path(run["token_file"]).read_text(encoding="utf-8")
    except OSError as error:
        seen = os.strerror(error.errno).lower()
    if seen != run["name"]:
        found = f"does not see the folder {run['folder']}: {run['token_file']}: {seen}"
        expected = "expected the same files at the same path"
        return "refused", f"on {socket.gethostname()}: {found}; {expected}"
    os.chdir(run["folder"])
    sys.path += [entry for entry in run["path"] if entry not in sys.path]
    from parity.core.cluster_worker import serve

    return serve(run, request)


def serve(run: Run, request: bytes) -> tuple:
    """Return (ANSWERED, the pickled answer, this worker's name, its processor), or (REFUSED, why).

    Raises ChildProcessError if the process that computes has ended.
    """
    if run["name"] not in _processes:
        if why := unfit(run):
            return REFUSED, f"{worker_name()}: {why}"
        release()
        _processes[run["name"]] = Worker(environment=run["environment"])
    found = _processes[run["name"]].call(answer, request)
    return ANSWERED, found, worker_name(), processor()


def release(run_name: str | None = None) -> None:
    """End the process of a run, or of any."""
    for name in [name for name in _processes if run_name in (name, None)]:
        _processes.pop(name).kill()


def leave(run_name: str) -> None:
    """End the process of a run, if this worker has seen one. It is sent by value, as `enter`."""
    import sys

    if "parity.core.cluster_worker" in sys.modules:
        sys.modules["parity.core.cluster_worker"].release(run_name)


def unfit(run: Run) -> str | None:
    """Say why this worker would not give the client's results; None if it would."""
    from distributed import get_worker

    threads = get_worker().state.nthreads
    if threads != 1:
        return f"found {threads} threads; expected 1: start it with --nthreads 1"
    here = installed(run["versions"])
    differing = [
        f"{name} {here[name]} (the client's: {theirs})"
        for name, theirs in run["versions"].items()
        if here[name] != theirs
    ]
    if differing:
        return f"other versions: {', '.join(differing)}"
    if code_digest() != run["code"]:
        return f"{PACKAGE}: not the client's code; update it, then start the worker again"
    if run["processor"] and processor() != run["processor"]:
        return f"processor {processor()}; expected the client's, {run['processor']}"
    return None


def installed(names: Iterable[str]) -> dict[str, str]:
    """The version of Python and of each distribution; `none` where it is not installed."""
    found = {}
    for name in names:
        try:
            found[name] = platform.python_version() if name == "python" else version(name)
        except PackageNotFoundError:
            found[name] = "none"
    return found


@cache
def code_digest() -> str:
    """The digest of this project's library, as it was at the first call of this process."""
    digest = hashlib.sha256()
    for path in sorted(PACKAGE.rglob("*.py")):
        digest.update(path.relative_to(PACKAGE).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


@cache
def processor() -> str:
    """The processor's name, with a digest of the instructions that it has: libraries choose their
    code by them, and processors of several generations share a name."""
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8") as lines:
            flags = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    except OSError:
        flags = ""
    return f"{cpu_model()} ({hashlib.sha256(flags.encode()).hexdigest()[:6]})"


def decisive_environment() -> dict[str, str]:
    """This process's variables that may change bits; the numbers of threads are always there."""
    found = {name: value for name, value in os.environ.items() if name.startswith(DECISIVE)}
    return dict.fromkeys((CLIENT_CORES, *THREADS), str(cores())) | found


def worker_name() -> str:
    """The address of this worker, with the name of its machine."""
    from distributed import get_worker

    return f"{get_worker().address} on {socket.gethostname()}"
