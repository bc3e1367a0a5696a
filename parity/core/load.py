"""How much of its processors a process shares with others: Linux counts it in /proc."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
# Of the columns of /proc/stat (see proc(5)): user, nice, system, idle, iowait, irq, softirq, steal.
# The two after these, of guests, are in user and nice already.
COLUMNS, IDLE = 8, (3, 4)


@dataclass(frozen=True)
class Ticks:
    """Clock ticks of the processors that this process may use since the system started: all, those
    that they were busy, and those that this process and its descendants used."""

    total: int
    busy: int
    own: int


def read_ticks() -> Ticks | None:
    """Return the ticks until now; None where the system does not count them."""
    try:
        allowed = {f"cpu{number}" for number in os.sched_getaffinity(0)}
        lines = [line.split() for line in (PROC / "stat").read_text().splitlines()]
        rows = [[int(one) for one in line[1 : 1 + COLUMNS]] for line in lines if line[0] in allowed]
        own = _own_ticks()
    except (AttributeError, OSError, ValueError):
        return None
    total = sum(map(sum, rows))
    idle = sum(row[column] for row in rows for column in IDLE)
    return Ticks(total, total - idle, own) if total else None


def _own_ticks() -> int:
    """The ticks of this process, its descendants, and those children of theirs that have ended."""
    ticks: dict[int, int] = {}
    children: dict[int, list[int]] = {}
    for path in PROC.glob("[0-9]*/stat"):
        try:
            # Behind the name, which may hold spaces and brackets: state, parent, ...
            fields = path.read_text(errors="replace").rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        process = int(path.parent.name)
        children.setdefault(int(fields[1]), []).append(process)
        ticks[process] = sum(map(int, fields[11:15]))  # utime, stime, cutime, cstime
    family = [os.getpid()]
    for process in family:  # which grows
        family += children.get(process, [])
    return sum(ticks.get(process, 0) for process in family)


class OtherLoad:
    """Measures what other processes take of the processors that this process may use."""

    def __init__(self, read: Callable[[], Ticks | None] = read_ticks) -> None:
        self._read = read
        self._last = read()

    def lap(self) -> float | None:
        """Return their share since the last lap or the start, in percent of the processors' time;
        None where the system does not count it.

        Time that a hypervisor gives to other guests counts as theirs.
        """
        before, now = self._last, self._read()
        self._last = now
        if before is None or now is None or now.total <= before.total:
            return None
        others = (now.busy - before.busy) - (now.own - before.own)
        return min(100.0, max(0.0, 100 * others / (now.total - before.total)))


def excess_of_load(load: float | None, max_load: float) -> str | None:
    """Say how the load by other processes exceeds its bound; None where it does not."""
    if load is None or load <= max_load:
        return None
    took = f"other processes took {load:.0f} % of the processors' time"
    return f"{took} (benchmark.max_load: {max_load:g})"
