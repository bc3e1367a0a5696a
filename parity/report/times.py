"""The times of a model, as the page tells them."""

from pydantic import TypeAdapter

from parity.backends.contract import LABELS
from parity.core.files import read_json
from parity.core.paths import rounds_path
from parity.evaluation.results import Results, Timing


def timings_of(results: Results) -> dict[str, Timing]:
    """The timings by backend."""
    return results.benchmark.timings if results.benchmark else {}


_ROUNDS = TypeAdapter(dict[str, list[float]])


def rounds_of(results: Results) -> dict[str, list[float]]:
    """The ms of each timed round by backend, none of a model without times; raises Damaged."""
    if results.benchmark is None:
        return {}

    def read(content: dict) -> dict[str, list[float]]:
        rounds = _ROUNDS.validate_python(content)
        return {backend: rounds[backend] for backend in results.benchmark.timings}

    return read_json(rounds_path(results.model), read)


def conditions_of(results: Results) -> dict[str, str]:
    """Where a model was timed and with what versions, in words, by heading."""
    benchmark = results.benchmark
    if benchmark is None:
        return {"times": f"none: {results.untimed}"}
    found, conditions = benchmark.environment, benchmark.conditions
    backends = [name for name in LABELS if name in found]
    words = {
        "timed": f"on {conditions.date}" + _disturbance(conditions.disturbed),
        "blob": "x".join(map(str, benchmark.blob)),
        "machine": f"{found['cpu']}, {found['cores']} cores",
        "versions": ", ".join(f"{LABELS[name]} {found[name]['version']}" for name in backends),
        "threads": ", ".join(f"{LABELS[name]} {found[name]['threads']}" for name in backends),
    }
    opencv = found.get("opencv", {})
    setup = [f"{key} {opencv[key]}" for key in ("engine", "backend", "target") if key in opencv]
    return words | ({"OpenCV runs with": ", ".join(setup)} if setup else {})


def _disturbance(reason: str | None) -> str:
    return f", disturbed: {reason}" if reason else ""
