"""Compare all models: a table, charts of accuracy, parity, exactness and time, and the data behind
them."""

import argparse
from collections.abc import Iterable
from pathlib import Path

from parity.core.cli import InputError, log, run
from parity.core.files import reading, write_text
from parity.core.machine import identity
from parity.core.params import Params, load_params
from parity.core.paths import plot_folder
from parity.core.staleness import check_current
from parity.evaluation.messages import QUICK
from parity.evaluation.plot_data import (
    write_accuracy,
    write_exactness,
    write_parity,
    write_times,
)
from parity.evaluation.results import Results, read_results
from parity.evaluation.shown_times import check_measured_here, shown_results
from parity.evaluation.summary import summary_text
from parity.evaluation.verdict import gate_limits, verdict_of

PLOTS = Path("plots")
TABLE = PLOTS / "summary.md"
PICTURES = ("inference_time.png", "accuracy.png", "parity.png", "exactness.png")


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="stages.summary", description=__doc__)
    parser.add_argument("--print", action="store_true", help="show the last summary")
    parser.add_argument("--quick", action="store_true", help="the table alone, of `make QUICK=1`")
    arguments = parser.parse_args(argv)

    params = load_params()
    if arguments.print:
        print(last_summary(list(params.models)), end="")
        return
    found = map(read_results, params.models)
    models = [shown_results(one, verdict_of(one, params)) for one in found]
    text = summary_text(models, params.gate.spread)
    if arguments.quick:
        write_text(TABLE, f"{QUICK}\n\n{text}")
        return
    draw(models, params)
    write_times(PLOTS / "inference_time.csv", models)
    write_accuracy(PLOTS / "accuracy.csv", models)
    write_parity(PLOTS / "parity.csv", models)
    write_exactness(PLOTS / "exactness.csv", models)
    write_text(TABLE, text)
    log(f"compared in {TABLE}: {', '.join(params.models)}")


def draw(models: list[Results], params: Params) -> None:
    # Imports matplotlib, which `--print` must not wait for.
    from parity.evaluation.pictures.exactness import draw_exactness
    from parity.evaluation.pictures.overview import draw_accuracy, draw_parity, draw_times

    dpi = params.plot.dpi
    limits = [gate_limits(params, one.model, one.exact.is_known).rel for one in models]
    draw_times(PLOTS / "inference_time.png", models, dpi)
    draw_accuracy(PLOTS / "accuracy.png", models, dpi)
    draw_parity(PLOTS / "parity.png", models, limits, params.gate.spread, dpi)
    draw_exactness(PLOTS / "exactness.png", models, dpi)


def last_summary(models: list[str]) -> str:
    """Return the last table and the paths of its pictures; raises InputError without a
    table, or where it is not of the present inputs or has times of another machine."""
    try:
        with reading(TABLE):
            text = TABLE.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError(f"{TABLE}: no such file; run `make`, which writes it") from None
    check_current(TABLE)
    check_measured_here(models, identity())
    groups = {"overview": _existing(PLOTS / name for name in PICTURES)}
    groups |= {model: _existing(sorted(plot_folder(model).glob("*.png"))) for model in models}
    groups = {name: paths for name, paths in groups.items() if paths}
    if not groups:
        return text
    width = max(map(len, groups))
    lines = [f"{name:<{width}}  {'  '.join(paths)}\n" for name, paths in groups.items()]
    return f"{text}\nPictures\n{''.join(lines)}"


def _existing(paths: Iterable[Path]) -> list[str]:
    return [str(path) for path in paths if path.exists()]


if __name__ == "__main__":
    run(main)
