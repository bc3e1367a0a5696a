"""All variations, as cases: drawn from a seed, the same on every machine."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
from onnx import ModelProto

from parity.backends.contract import BackendFailure
from parity.backends.float64 import run_float64
from parity.backends.onnxruntime import run_onnxruntime
from parity.graphs.difference import compare
from parity.operators.case import Case
from parity.operators.causes import causes_of
from parity.operators.variations.draws import FLOAT, NORMAL, OFFSET, SPECIAL, Draws
from parity.operators.variations.patterns import PATTERNS
from parity.operators.variations.perturbations import PERTURBATIONS
from parity.operators.variations.single import OPERATORS
from parity.operators.variations.sketch import Sketch

SEED = 0
# An operator is drawn this often, times the number of options of its choices, with normal values:
DRAWS_PER_OPTION = 2
# windows have many choices that matter together.
DRAWS_PER_OPTION_OF = {"Conv": 4, "ConvTranspose": 4, "MaxPool": 4, "AveragePool": 4, "Resize": 4}
SPECIAL_DRAWS = 2  # and this often with each other kind of values.
PAIRS = 12  # of perturbations at once, per pattern
# ONNX's evaluator agrees with ONNX Runtime up to this relative difference, of ordinary values.
AGREED = 1e-4

NAMES = tuple(dict.fromkeys((*OPERATORS, *(pattern.name for pattern in PATTERNS))))


def variations(names: Collection[str] = NAMES, seed: int = SEED) -> Iterator[Case]:
    """Yield the cases of these operators and patterns, each with a run of one input.

    `names` are of NAMES. A case is the same whatever other names are given. A graph that ONNX
    Runtime refuses is no case, nor is one that ONNX's evaluator computes otherwise: which of them
    is right would be a matter of opinion.
    """
    for name in NAMES:
        if name in names:
            yield from _cases(name, seed)


def _cases(name: str, seed: int) -> Iterator[Case]:
    numbers: Counter[str] = Counter()
    for kind, sketch, values in _sketches(name, seed):
        case_name = f"own/{name}/{kind}#{numbers[kind]}"
        numbers[kind] += 1
        ran = sketch.run()
        if ran is None:
            continue
        model, outputs = ran
        ordinary = Draws(seed, case_name) if values != NORMAL else None
        try:
            exact = _exact(sketch, model, outputs, ordinary)
        except Dispute:
            continue
        inputs = dict(sketch.inputs)
        causes = causes_of(model, inputs)
        yield Case(
            name=case_name,
            operator=name,
            model=model,
            inputs=[inputs],
            expected=[exact] if exact and values in OFFSET else None,
            cause=causes[0].key if causes else None,
        )


def _sketches(name: str, seed: int) -> Iterator[tuple[str, Sketch, str]]:
    """Yield sketches with what was varied and the kind of values."""
    if name in OPERATORS:
        yield from _drawn(name, Draws(seed, name))
    for number, pattern in enumerate(one for one in PATTERNS if one.name == name):
        draws = Draws(seed, f"{name} {number}")
        whole = pattern.sketch(draws)
        yield "pattern", whole, NORMAL
        for perturb in PERTURBATIONS:
            yield from ((perturb.__name__, sketch, NORMAL) for sketch in perturb(whole, draws))
        yield from (("two_changes", sketch, NORMAL) for sketch in _pairs(whole, draws))
        for draws.values in SPECIAL:
            yield f"values_{draws.values}", pattern.sketch(draws), draws.values


def _drawn(name: str, draws: Draws) -> Iterator[tuple[str, Sketch, str]]:
    draw, number = OPERATORS[name], 0
    times = DRAWS_PER_OPTION_OF.get(name, DRAWS_PER_OPTION)
    while number == 0 or number < times * draws.options:
        yield "drawn", draw(draws), NORMAL
        number += 1
    for draws.values in SPECIAL:
        for _ in range(SPECIAL_DRAWS):
            yield f"values_{draws.values}", draw(draws), draws.values


def _pairs(whole: Sketch, draws: Draws) -> Iterator[Sketch]:
    """Yield sketches with two changes each."""
    for _ in range(PAIRS):
        first, second = (
            PERTURBATIONS[place] for place in draws.random.permutation(len(PERTURBATIONS))[:2]
        )
        once = _one_of(list(first(whole, draws)), draws)
        twice = once and once.run() and _one_of(list(second(once, draws)), draws)
        if twice:
            yield replace(twice, label=f"{once.label}; {twice.label}")


def _one_of(sketches: Sequence[Sketch], draws: Draws) -> Sketch | None:
    return sketches[draws.random.integers(len(sketches))] if sketches else None


class Dispute(Exception):
    """ONNX Runtime and ONNX's evaluator compute different functions."""


def _exact(
    sketch: Sketch,
    model: ModelProto,
    outputs: Mapping[str, np.ndarray],
    ordinary: Draws | None,
) -> list[np.ndarray] | None:
    """Return the outputs in float64, rounded; None where ONNX's evaluator cannot compute them, or
    float32 overflows by the graph's own definition.

    `outputs` are ONNX Runtime's. The two must agree on the inputs or, where `ordinary` draws them,
    on ordinary ones. Raises Dispute where they do not.
    """
    names, inputs, theirs = list(outputs), sketch.inputs, outputs
    if ordinary:
        inputs = {
            name: ordinary.normal(*value.shape) if value.dtype == FLOAT else value
            for name, value in inputs.items()
        }
        theirs = run_onnxruntime(model, inputs, names)
    try:
        exact = run_float64(model, inputs, names)
        if not all(compare(theirs[name], exact[name]).rel < AGREED for name in names):
            raise Dispute
        if not all(np.isfinite(one).all() for one in outputs.values()):
            return None
        exact = run_float64(model, sketch.inputs, names) if ordinary else exact
    except BackendFailure:  # the evaluator has no rule for it
        return None
    return [exact[name].astype(outputs[name].dtype) for name in names]
