"""Mend an ONNX file and prove it: what `tools.mend` and the stage `mend` share."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

import numpy as np
from onnx import ModelProto

from parity.core.cli import InputError
from parity.faults.settings import EngineSettings
from parity.graphs.graph import load_model
from parity.mending.judge import Case, Judge, Judgement, make_cases
from parity.mending.near import near_fault
from parity.mending.proof import Check, opencv_check, prove
from parity.mending.rule import Rule
from parity.mending.rules import RULES
from parity.mending.search import Mending, Say, apply_rules, mend
from parity.mending.steps import (
    METADATA,
    Step,
    apply_steps,
    counts_by_rule,
    places_by_rule,
    read_steps,
)


@dataclass(frozen=True)
class Mended:
    """A file after mending, with the proof that it is the same function."""

    mending: Mending
    proof: Sequence[Check]
    cases: Sequence[Case]

    @property
    def model(self) -> ModelProto:
        return self.mending.model

    @property
    def steps(self) -> Sequence[Step]:
        return self.mending.steps

    @property
    def passes(self) -> bool:
        """Whether OpenCV is right with the file, and the proof holds."""
        return all(check.holds for check in self.checks)

    @property
    def checks(self) -> Sequence[Check]:
        return [*self.proof, opencv_check(self.mending.after)]

    def content(self, written: bool | None = None) -> dict:
        """Return what the last line of `tools.mend` and the stage's file hold. The rules are those
        of the file that is `written`: by default the mended one if it passes."""
        steps = self.steps if (self.passes if written is None else written) else []
        return {
            "mended": bool(steps),
            "rules": counts_by_rule(steps),
            "places": places_by_rule(steps),
            "before": _judgement_json(self.mending.before),
            "after": _judgement_json(self.mending.after),
            "tried": self.mending.tried,
            "proof": {check.what: check.holds for check in self.proof},
        }


def _judgement_json(judgement: Judgement) -> dict:
    rel = judgement.difference.rel
    return {
        "verdict": judgement.verdict,
        "rel": rel if isfinite(rel) else None,
        "where": judgement.where,
        "message": judgement.difference.message,
    }


def rules_named(names: Sequence[str], source: str) -> list[Rule]:
    """Return rules by name; raises InputError, naming the `source`, for one that does not exist."""
    for name in names:
        if name not in RULES:
            raise InputError(f"{source}: found rule {name!r}; expected {', '.join(RULES)}")
    return [RULES[name] for name in names]


def mend_file(
    path: Path,
    blobs: Sequence[np.ndarray],
    settings: EngineSettings,
    fixed: float,
    say: Say,
    rules: Sequence[Rule] | None = None,
) -> Mended:
    """Mend an ONNX file for an engine, as the blobs, float32 (N, 3, H, W), demand.

    With `rules`, apply these wherever they fit; without, search for those that are needed. `fixed`
    limits the relative error where rounding is not measured. Raises InputError where the file or a
    blob is of no use.
    """
    model = load_model(path)
    if any(entry.key == METADATA for entry in model.metadata_props):
        raise InputError(f"{path}: it is mended already, as its metadata says; mend the original")
    cases = make_cases(path, model, blobs, fixed)
    with Judge(cases, settings) as judge:
        if rules is not None:
            mending = apply_rules(model, judge, rules, say)
        else:

            def locate(version: ModelProto, judgement: Judgement) -> set[str]:
                return near_fault(version, judgement, cases[judgement.case], settings, fixed)

            mending = mend(model, judge, list(RULES.values()), locate, say)
    proof = prove(model, mending.model, mending.steps, cases) if mending.steps else []
    return Mended(mending, proof, cases)


def verify_file(
    original_path: Path,
    mended_path: Path,
    blobs: Sequence[np.ndarray],
    settings: EngineSettings,
    fixed: float,
) -> list[Check]:
    """Repeat the proof of a mended file; raises InputError where it lists no steps."""
    original, mended = load_model(original_path), load_model(mended_path)
    try:
        steps = read_steps(mended)
    except ValueError as error:
        raise InputError(f"{mended_path}: {error}") from None
    if not steps:
        raise InputError(f"{mended_path}: its metadata lists no steps of mending")
    cases = make_cases(original_path, original, blobs, fixed)
    with Judge(cases, settings) as judge:
        after = judge.judge(mended)
    proof = prove(original, mended, steps, cases)
    return [_rebuilt(original, mended, steps), *proof, opencv_check(after)]


def _rebuilt(original: ModelProto, mended: ModelProto, steps: Sequence[Step]) -> Check:
    what = "the original after the listed steps"
    try:
        again = apply_steps(original, steps)
    except ValueError as error:
        return Check(what, False, str(error))
    same = again.SerializeToString(deterministic=True) == mended.SerializeToString(
        deterministic=True
    )
    return Check(what, same, "the same file" if same else "another file")
