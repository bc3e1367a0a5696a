"""The machine that the pipeline runs on."""

import hashlib
import os
import platform
from functools import cache
from pathlib import Path

# systemd's, and D-Bus's where there is no systemd.
MACHINE_IDS = (Path("/etc/machine-id"), Path("/var/lib/dbus/machine-id"))
# In the processes of a cluster's workers: the client's cores. `threads: 0` means those there too,
# as another number of threads may round otherwise.
CLIENT_CORES = "PARITY_CLIENT_CORES"


def cores() -> int:
    """Return how many logical processors this process may use, on a cluster its client."""
    if counted := os.environ.get(CLIENT_CORES):
        return int(counted)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def machine() -> dict[str, str | int]:
    """Return what the bits of a result depend on besides model, libraries and settings."""
    return {
        "cpu": cpu_model(),
        "cores": cores(),
        "system": f"{platform.system()} {platform.machine()}",
    }


def this_machine() -> dict[str, str | int]:
    """Return what measured times depend on besides model, libraries and settings."""
    return {"identity": identity()} | machine()


@cache
def identity() -> str:
    """Return 16 hex digits that two machines do not share.

    They are a hash of the machine's id, host name, processor, cores and memory. Machines cloned
    from one image share the id, and containers often have none: the host name tells these apart. A
    container with a new host name counts as a new machine. The hash does not give the id away, as
    machine-id(5) asks.
    """
    facts = (_machine_id(), platform.node(), cpu_model(), os.cpu_count(), memory_gib())
    found = hashlib.blake2b(repr(facts).encode(), digest_size=8, person=b"parity machine")
    return found.hexdigest()


def _machine_id() -> str | None:
    for path in MACHINE_IDS:
        try:
            if found := path.read_text(encoding="ascii").strip():
                return found
        except (OSError, UnicodeDecodeError):
            continue
    return None


def memory_gib() -> int:
    """Return the main memory, rounded to GiB: a new kernel keeps a little more or less of it."""
    return round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30)


def cpu_model() -> str:
    """Return the processor's name as Linux reports it, elsewhere as Python does."""
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8") as lines:
            names = [line.partition(":")[2].strip() for line in lines if "model name" in line]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()
