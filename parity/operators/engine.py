"""Run cases in an engine of a version of OpenCV: many in one process, which a crash or a hang ends
and the next case starts again."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from parity.backends.contract import BackendFailure
from parity.backends.isolated import BackendWorker
from parity.core.system_errors import ran_out
from parity.coverage.memory import with_memory_limit
from parity.graphs.graph import output_names, save
from parity.operators.case import Case
from parity.operators.child import run_in_engine
from parity.operators.record import Column

TIME_LIMIT = 120.0  # seconds for a case; the light networks take a few
MEMORY_LIMIT = 4.0  # GB per process; light_vgg19 needs most of it
TWICE = 2  # each input runs again on the same network


@dataclass(frozen=True)
class Run:
    """The outputs of a case for each input, all inputs in turn and then all again, up to the
    failure that ended the run, if any."""

    outputs: list[list[np.ndarray]]
    failure: BackendFailure | None = None


class OpenCVProcess:
    """A process that runs cases in one engine of one OpenCV until it is stopped.

    `folder` is that version's, None the installed one's. The files that it reads are written to
    `work`; `environment` is added to this process's own.
    """

    def __init__(
        self,
        column: Column,
        folder: Path | None,
        work: Path,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.column, self.folder, self.work = column, folder, work
        self._worker = BackendWorker(TIME_LIMIT, environment, quiet=True)

    def stop(self) -> None:
        """End the process."""
        self._worker.stop()

    def run(self, case: Case) -> Run:
        """Run a case; a failure of OpenCV is part of the result."""
        path = self.work / "case.onnx"
        save(case.model, path)
        request = (self.folder, self.column.engine, path, TWICE * case.inputs)
        try:
            outputs, failure = self._worker.call(
                with_memory_limit, MEMORY_LIMIT, run_in_engine, *request, output_names(case.model)
            )
        except BackendFailure as error:
            return Run([], error)
        except RuntimeError as error:
            message = str(error).strip().splitlines()[-1]
            if not ran_out(message):
                raise
            return Run([], BackendFailure("error", f"out of memory: {message}"))
        return Run(outputs, failure)
