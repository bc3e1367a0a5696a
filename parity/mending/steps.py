"""Apply steps of mending to a model: which rule, at which places."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import onnx
import onnx_ir as ir
from onnx import ModelProto

from parity.evaluation.results import TIMES
from parity.graphs.graph import input_names, producers
from parity.mending.rule import Rule
from parity.mending.rules import RULES

METADATA = "mending"  # key of the file's metadata that lists the steps, as JSON


@dataclass(frozen=True)
class Step:
    """A rule and the places, names of values, where it rewrites a model."""

    rule: Rule
    places: Sequence[str]


def places_by_rule(steps: Iterable[Step]) -> dict[str, list[str]]:
    """Return the places of each rule's name."""
    places: dict[str, list[str]] = {}
    for step in steps:
        places.setdefault(step.rule.name, []).extend(step.places)
    return places


def counts_by_rule(steps: Iterable[Step]) -> dict[str, int]:
    """Return how many places each rule changed."""
    return {name: len(places) for name, places in places_by_rule(steps).items()}


def counts_text(counts: Mapping[str, int]) -> str:
    """Describe how many places each rule changed."""
    return ", ".join(f"{count} {TIMES} {name}" for name, count in counts.items())


def steps_text(steps: Iterable[Step]) -> str:
    return counts_text(counts_by_rule(steps))


def fitting(model: ModelProto, rules: Iterable[Rule]) -> list[Step]:
    """Return a step for each rule that fits a model, with all its places."""
    graph = _graph(model)
    steps = (Step(rule, rule.fits(graph)) for rule in rules)
    return [step for step in steps if step.places]


def apply_steps(original: ModelProto, steps: Sequence[Step]) -> ModelProto:
    """Return the model after the steps, listed in its metadata; the original stays.

    Raises ValueError where a rule no longer fits one of its places.
    """
    steps = [step for step in steps if step.places]
    if not steps:
        return original
    mended = original
    for step in steps:
        # Inferred again: a rule may fit only where an earlier one made a shape known.
        graph = _graph(mended)
        changed = step.rule.apply(graph, step.places)
        if missing := sorted({*step.places} - {*changed}):
            raise ValueError(f"{step.rule.name} does not fit {missing[0]}")
        mended = ir.serde.serialize_model(graph)
    # An engine must not see more shapes than before.
    computed = producers(mended).keys()
    kept = [value for value in original.graph.value_info if value.name in computed]
    del mended.graph.value_info[:]
    mended.graph.value_info.extend(kept)
    for ours, theirs in (
        (mended.graph.input, original.graph.input),
        (mended.graph.output, original.graph.output),
    ):
        del ours[:]
        ours.extend(theirs)
    note = mended.metadata_props.add()
    note.key, note.value = (
        METADATA,
        json.dumps([[step.rule.name, [*step.places]] for step in steps]),
    )
    return mended


def read_steps(model: ModelProto) -> list[Step]:
    """Return the steps that a file's metadata lists, none for a file that was not mended.

    Raises ValueError where they name no rule, or are no such list.
    """
    notes = [entry.value for entry in model.metadata_props if entry.key == METADATA]
    try:
        listed = json.loads(notes[-1]) if notes else []
        return [Step(RULES[name], [*map(str, places)]) for name, places in listed]
    except (TypeError, ValueError, KeyError) as error:
        raise ValueError(f"metadata {METADATA!r}: no list of rules and places: {error}") from None


def _graph(model: ModelProto) -> ir.Model:
    return ir.serde.deserialize_model(onnx.shape_inference.infer_shapes(model, data_prop=True))


def differing_signature(original: ModelProto, mended: ModelProto) -> str | None:
    """Return in what the interfaces of two files differ: inputs, outputs, their names, types and
    axes, and metadata; None where the second only adds the list of its steps."""
    for what in ("input", "output"):
        ours, theirs = (
            [value.SerializeToString(deterministic=True) for value in getattr(one.graph, what)]
            for one in (original, mended)
        )
        if ours != theirs:
            return f"{what}s"
    if input_names(original) != input_names(mended):
        return "inputs"
    before, after = (
        {one.key: one.value for one in model.metadata_props} for model in (original, mended)
    )
    after.pop(METADATA, None)
    before.pop(METADATA, None)
    return None if before == after else "metadata"
