"""What a rule of mending is, and how it is applied to a model or to some places of it."""

from collections.abc import Callable, Collection
from dataclasses import dataclass

import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass
from onnxscript.rewriter.pattern import MatchResult, RewriteRule, RewriteRuleClassBase

from parity.core.versions import version_numbers

BOTH = ("classic", "new")
Places = Collection[str] | None  # names of values; None: wherever the rule fits
Apply = Callable[[ir.Model, Places], list[str]]


@dataclass(frozen=True)
class KnownFault:
    """A fault of OpenCV: what is wrong in one line, in which versions, the first and the last, and
    in which engines. OpenCV 4 has the classic one alone."""

    what: str
    since: str
    until: str
    engines: tuple[str, ...]

    def __str__(self) -> str:
        versions = self.since if self.since == self.until else f"{self.since} to {self.until}"
        engines = "both engines" if self.engines == BOTH else f"{self.engines[0]} engine"
        return f"{self.what}, OpenCV {versions}, {engines}"

    def is_in(self, opencv: str, engine: str) -> bool:
        """Whether an engine of a version, as 5.0.0.93, has the fault."""
        version, since, until = map(version_numbers, (opencv, self.since, self.until))
        in_range = since <= version and version[: len(until)] <= until
        return in_range and engine in self.engines


@dataclass(frozen=True)
class Rule:
    """A rewrite that leaves a model the same function and steers round a fault of OpenCV.

    `apply` changes a model in place, only at the places given, and returns the places that it
    changed. A place is the name of a value that the rule computes in another way; the value keeps
    its name. `exact` says that every output stays the same bit for bit; else it changes by
    rounding only. `rounds_constants` says that the file then holds values that were computed in
    float32, so that rounding shows in float64 as well.
    """

    name: str
    exact: bool
    steers_round: KnownFault
    apply: Apply
    rounds_constants: bool = False

    def fits(self, model: ir.Model) -> list[str]:
        """Return the places where the rule fits, without changing the model."""
        return self.apply(model.clone(), None)


def pattern_rule(
    name: str, exact: bool, steers_round: KnownFault, *patterns: type[RewriteRuleClassBase]
) -> Rule:
    """Return the rule that replaces patterns of onnxscript's rewriter. Each has one output."""

    def apply(model: ir.Model, places: Places) -> list[str]:
        changed: list[str] = []
        for pattern in patterns:
            _limited(pattern(), places, changed).apply_to_model(model)
        return remove_unused(model, changed)

    return Rule(name, exact, steers_round, apply)


def node_rule(
    name: str, exact: bool, steers_round: KnownFault, change: Callable[[ir.Node], bool]
) -> Rule:
    """Return the rule that changes nodes, one by one and in place. `change` returns whether it
    changed the node; the place is the node's first output."""

    def apply(model: ir.Model, places: Places) -> list[str]:
        nodes = [one for one in model.graph.all_nodes() if one.outputs]
        chosen = [one for one in nodes if places is None or one.outputs[0].name in places]
        changed = [one.outputs[0].name for one in chosen if change(one)]
        return remove_unused(model, changed)

    return Rule(name, exact, steers_round, apply)


def remove_unused(model: ir.Model, changed: list[str]) -> list[str]:
    """Remove the nodes that nothing uses any more if places changed, and return the places.

    OpenCV refuses some nodes that nothing uses.
    """
    if changed:
        RemoveUnusedNodesPass()(model)
    return changed


def _limited(pattern: RewriteRuleClassBase, places: Places, changed: list[str]) -> RewriteRule:
    """Return a rewriter's rule that replaces the pattern at the places and notes them."""
    root = ""

    def check(context, **values) -> bool | MatchResult:
        nonlocal root
        (output,) = context.output_values
        root = output.name
        return (places is None or root in places) and pattern.check(context, **values)

    def rewrite(op, **values) -> ir.Value | None:
        replacement = pattern.rewrite(op, **values)
        if replacement is not None:
            changed.append(root)
        return replacement

    return RewriteRule(pattern.pattern, rewrite, check, remove_nodes=pattern.remove_nodes)
