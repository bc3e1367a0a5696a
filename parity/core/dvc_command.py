"""DVC's command line as `make` runs it: `python -m parity.core.dvc_command repro` does what
`python -m dvc repro` does, with less time between two stages. In a terminal it says which of how
many stages runs, and for how long.
"""

import sys
import time
from collections.abc import Callable
from functools import wraps

from parity.core.cli import log
from parity.core.fast_dvc import make_faster
from parity.core.status_line import duration_text, has_terminal, status_line

# Starts it, as a process of its own.
DVC = (sys.executable, "-m", "parity.core.dvc_command")


class Progress:
    """Which stage of a plan runs, and since when."""

    def __init__(self) -> None:
        self._plan: list[str] = []
        self._running: tuple[str, float] | None = None

    def follow_plan(self, make_plan: Callable) -> Callable:
        """Wrap DVC's function that returns the stages of a run in their order."""

        @wraps(make_plan)
        def planned(*args, **kwargs):
            steps = make_plan(*args, **kwargs)
            self._plan = [stage.addressing for stage in steps]
            return steps

        return planned

    def follow_stage(self, reproduce: Callable) -> Callable:
        """Wrap DVC's method that runs a stage or skips it, and then returns None. A line stays of a
        stage that ran."""

        @wraps(reproduce)
        def reproduced(stage, *args, **kwargs):
            self._running = stage.addressing, time.monotonic()
            try:
                if ran := reproduce(stage, *args, **kwargs):
                    log(self.text())
                return ran
            finally:
                self._running = None

        return reproduced

    def text(self) -> str:
        """The place of the running stage, its name and its time; empty where none runs."""
        running = self._running  # another thread asks
        if running is None:
            return ""
        name, began = running
        place = self._plan.index(name) + 1
        time_text = duration_text(time.monotonic() - began)
        return f"[{place}/{len(self._plan)}] {name}, {time_text}"


def main(argv: list[str]) -> int:
    """Run DVC in this process; returns its exit code."""
    from dvc.cli import main as dvc_main

    make_faster()
    if not has_terminal():
        return dvc_main(argv)
    with status_line(follow_dvc().text):
        return dvc_main(argv)


def follow_dvc() -> Progress:
    """Return the progress of what DVC runs in this process."""
    import dvc.repo.reproduce
    from dvc.stage import Stage

    progress = Progress()
    dvc.repo.reproduce.plan_repro = progress.follow_plan(dvc.repo.reproduce.plan_repro)
    Stage.reproduce = progress.follow_stage(Stage.reproduce)
    return progress


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
