"""Messages about a backend's outputs, shared by the log, the summary and the verdict."""

from parity.backends.contract import LABELS
from parity.core.markdown import ratio_text
from parity.evaluation.results import Stability, StabilityRun, is_number

QUICK = "Quick run: few images, no times, no pictures. `make` gives the full verdict."
MAX_FAILURE = 120  # characters of a failure's message, when it is one run among several


def nonfinite_text(backend: str, images: int) -> str:
    plural = "" if images == 1 else "s"
    return f"{LABELS[backend]}: NaN or infinity in the outputs of {images:,} image{plural}"


def distance_text(backend: str, ratio: float, reference: str, limit: float) -> str:
    """Say that a backend is farther from the exact answer than rounding explains."""
    far = f"{ratio_text(ratio)} times as far from the exact answer as {LABELS[reference]} is"
    return f"{LABELS[backend]}: {far} (limit {limit:g}): rounding does not explain it"


def stability_text(stability: Stability) -> str:
    """Return one line: stable, unstable with the runs that differ, or unknown."""
    if stability.stable:
        runs = len(stability.runs) + 1
        return f"OpenCV is stable: the same bits in {runs} runs ({stability.method})"
    if stability.stable is None:
        return "OpenCV never ran, so its stability is unknown"
    differing = [_run_text(run) for run in stability.runs if not run.same]
    return f"OpenCV is unstable: {'; '.join(differing)}"


def _run_text(run: StabilityRun) -> str:
    if run.failure:
        return f"{run.name} failed ({run.failure['kind']}: {_ending(run.failure['message'])})"
    rel = f"{run.rel:.1e}" if is_number(run.rel) else "not a number"
    return f"{run.name} differs (rel {rel})"


def _ending(message: str) -> str:
    """Return the end of a message in one line: that is where OpenCV gives its reason."""
    line = " ".join(message.split())
    return line if len(line) <= MAX_FAILURE else f"... {line[-MAX_FAILURE:]}"
