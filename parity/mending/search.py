"""Find the steps that make OpenCV right with a file, and no step more."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field

from onnx import ModelProto

from parity.mending.judge import Case, Judge, Judgement
from parity.mending.proof import prove
from parity.mending.rule import Rule
from parity.mending.steps import Step, apply_steps, fitting, steps_text

# A step counts as needed if the error without it is larger than with it by WORSE, and beyond what
# healthy networks reach, although both are within the limit.
WORSE, HEALTHY = 1.5, 0.3
MOST = 20  # steps, in case a rule fits what it writes

# Returns the names of values at and around the fault that a judgement shows in a model.
Locate = Callable[[ModelProto, Judgement], Collection[str]]
Say = Callable[[str], None]


@dataclass
class Mending:
    """How a model was mended: its steps, the judgements before and after, and what was tried."""

    original: ModelProto
    model: ModelProto
    steps: list[Step]
    before: Judgement
    after: Judgement
    tried: list[str] = field(default_factory=list)


def mend(
    original: ModelProto, judge: Judge, rules: Sequence[Rule], locate: Locate, say: Say
) -> Mending:
    """Mend a model, or return the last version where no rule helps.

    Where several rules fit, those that fit at the fault are tried first. A rule stays if OpenCV
    then gets further. Where no single rule helps, all together are tried, since several faults may
    hide one another. At the end, each step and place that OpenCV does not need is taken back.
    """
    before = judge.judge(original)
    say(f"before: {before.text}")
    found = Mending(original, original, [], before, before)
    while not found.after.passes:
        if len(found.steps) >= MOST or not _forward(found, rules, judge, locate, say):
            return found
    return _without_needless(found, judge, say) if found.steps else found


def apply_rules(original: ModelProto, judge: Judge, rules: Sequence[Rule], say: Say) -> Mending:
    """Apply the rules wherever they fit, in their order, and judge the result."""
    before = judge.judge(original)
    say(f"before: {before.text}")
    model, steps = original, []
    for rule in rules:
        steps += fitting(model, [rule])
        model = apply_steps(original, steps)
    after = judge.judge(model) if steps else before
    say(f"after: {after.text}")
    tried = [f"{steps_text(steps)}: {after.text}"] if steps else []
    return Mending(original, model, steps, before, after, tried)


def _forward(found: Mending, rules: Sequence[Rule], judge: Judge, locate: Locate, say: Say) -> bool:
    """Add the first step that brings OpenCV further, or all together; returns whether one did."""
    steps = fitting(found.model, rules)
    if not steps:
        return False
    near = set(locate(found.model, found.after)) if len(steps) > 1 else set()
    steps.sort(key=lambda step: near.isdisjoint(step.places))  # stable: in the rules' order else
    attempts = [[step] for step in steps]
    together = _together(found, rules)
    if len(together) > 1:
        attempts.append(together)
    for attempt in attempts:
        trial = found.steps + attempt
        model = apply_steps(found.original, trial)
        judgement = judge.judge(model)
        line = f"{steps_text(attempt)}: {judgement.text}"
        found.tried.append(line)
        say(line)
        if judgement.is_better_than(found.after) and same_function(
            found.original, model, trial, judge.cases, say
        ):
            found.model, found.steps, found.after = model, trial, judgement
            return True
    return False


def same_function(
    original: ModelProto, model: ModelProto, steps: Sequence[Step], cases: Sequence[Case], say: Say
) -> bool:
    """Whether the proof of the steps holds; says where it fails."""
    failing = [check for check in prove(original, model, steps, cases) if not check.holds]
    for check in failing:
        say(check.text)
    return not failing


def _together(found: Mending, rules: Sequence[Rule]) -> list[Step]:
    """Return the steps of all rules, each fitted after the ones before; twice, as a rule may fit
    what another one wrote."""
    steps: list[Step] = []
    for rule in (*rules, *rules):
        steps += fitting(apply_steps(found.original, found.steps + steps), [rule])
    return steps


def _without_needless(found: Mending, judge: Judge, say: Say) -> Mending:
    """Take back the steps, and their places, that OpenCV does not need."""
    for number in reversed(range(len(found.steps))):
        step = found.steps[number]
        for places in _needless(found, number, step.places, judge):
            say(f"taken back: {steps_text([Step(step.rule, places)])}")
    found.steps = [step for step in found.steps if step.places]
    return found


def _needless(
    found: Mending, number: int, places: Sequence[str], judge: Judge
) -> Iterator[Sequence[str]]:
    """Take back places of a step, all at once or by halves; yields those that were not needed."""
    current = found.steps[number]
    kept = [place for place in current.places if place not in places]
    trial = [*found.steps[:number], Step(current.rule, kept), *found.steps[number + 1 :]]
    if (judged := _judged(found, trial, judge)) is not None:
        found.steps, (found.model, found.after) = trial, judged
        yield places
        return
    if len(places) == 1:
        return
    middle = len(places) // 2
    for half in (places[:middle], places[middle:]):
        yield from _needless(found, number, half, judge)


def _judged(found: Mending, steps: list[Step], judge: Judge) -> tuple[ModelProto, Judgement] | None:
    """Return the model with these steps, if OpenCV is as right with it as with all."""
    try:
        model = apply_steps(found.original, steps)
    except ValueError:  # a later step fits only after one that is missing
        return None
    judgement = judge.judge(model)
    if judgement.passes and judgement.error <= max(WORSE * found.after.error, HEALTHY):
        return model, judgement
    return None
