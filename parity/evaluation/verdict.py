"""When a model passes, and which step is to blame where it does not: rules without any I/O.

A row is what `plot` gathered of a model (plots/data/<model>/row.json).
"""

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass

from parity.backends.contract import LABELS, PAIRS, failure_text
from parity.core.params import Params
from parity.evaluation.messages import nonfinite_text, stability_text

EXPORT, ENGINE, SUM = "onnxruntime_vs_pytorch", "opencv_vs_onnxruntime", "opencv_vs_pytorch"
# Who owns a deviation: the owner of the pair, in words.
OWNERS = {
    "model": "the model, of which the reference's own answer is no answer",
    "export": "the export, whose ONNX file is not the PyTorch model",
    "engine": "the engine, OpenCV, which does not compute what the ONNX file says",
    "export and engine": "the export and the engine, each within its limit, together beyond",
    "export or engine": "the export or the engine, which cannot be told without ONNX Runtime",
    "noise": "numerical noise: two logits closer than the measured error",
}
PASS, FAIL, VACUOUS = "pass", "FAIL", "vacuous"


@dataclass(frozen=True)
class Limits:
    """What passes: `rel` at most, `agreement` (percent) at least, `accuracy_loss` (percentage
    points) at most."""

    rel: float
    agreement: float
    accuracy_loss: float


@dataclass(frozen=True)
class Finding:
    """What is wrong with a model, or would be but for the ties.

    `subject` is a pair of backends or a single one, `figure` the parity key, `accuracy_loss`,
    `nonfinite`, `unstable` or the kind of a failure. `found` and `limit` are None where that is no
    figure that has any. `words` tells it all in one line, less the owner.
    """

    owner: str
    subject: str
    figure: str
    found: float | None
    limit: float | None
    words: str


@dataclass(frozen=True)
class Verdict:
    """`verdict` is PASS, FAIL or VACUOUS; the figures are OpenCV's against the reference's answers,
    None where there are none, `agreement` with ties counted as the same."""

    verdict: str
    owner: str
    rel: float | None
    agreement: float | None
    accuracy_loss: float | None
    limits: Limits
    failures: tuple[Finding, ...]
    ties: tuple[Finding, ...]
    vacuous: str | None

    def content(self) -> dict:
        return asdict(self)


def verdict_of(content: dict) -> Verdict:
    """The inverse of `content`."""
    findings = {key: tuple(Finding(**one) for one in content[key]) for key in ("failures", "ties")}
    return Verdict(**content | findings | {"limits": Limits(**content["limits"])})


def gate_limits(params: Params, name: str) -> Limits:
    """The limits of a model: those of its task, but for its overrides."""
    limits = params.gate.limits.of(params.models[name].task).model_dump()
    if name in params.gate.overrides:
        limits |= params.gate.overrides[name].model_dump(exclude_none=True)
    return Limits(**limits)


def judge(row: dict, limits: Limits, least_spread: float) -> Verdict:
    """Judge one model. Where it passes, but the reference's outputs differ between images by less
    than `least_spread` of the largest, the verdict is VACUOUS."""
    failures = [
        *failed(row),
        *nonfinite(row),
        *unstable(row),
        *by_pair(row, lambda pair: judge_rel(row, pair, limits)),
        *by_pair(row, lambda pair: judge_agreement(row, pair, limits)),
        *accuracy_lost(row, limits),
    ]
    vacuous = None if failures else why_vacuous(row, least_spread)
    parity = row["parity"].get(f"opencv_vs_{row['reference']}")
    return Verdict(
        verdict=FAIL if failures else VACUOUS if vacuous else PASS,
        owner=", ".join(dict.fromkeys(one.owner for one in failures)) or "-",
        rel=parity and parity["rel"],
        agreement=parity and with_ties(parity, limits),
        accuracy_loss=loss(row, row["reference"], "opencv"),
        limits=limits,
        failures=tuple(failures),
        ties=tuple(saved_by_ties(row, limits)),
        vacuous=vacuous,
    )


def owner_of(row: dict, subject: str) -> str:
    """Who owns what is wrong with a pair, or with what a single backend answers."""
    owners = {EXPORT: "export", ENGINE: "engine", "onnxruntime": "export", "opencv": "engine"}
    if subject == SUM:
        return "export and engine" if ENGINE in row["parity"] else "export or engine"
    return "model" if subject == row["reference"] else owners[subject]


def failed(row: dict) -> Iterable[Finding]:
    """The backends that gave no answer at all."""
    for backend, failure in row["failures"].items():
        words = failure_text(backend, failure)
        yield Finding(owner_of(row, backend), backend, failure["kind"], None, None, words)


def nonfinite(row: dict) -> Iterable[Finding]:
    """NaN or infinity, of the first backend that has any: the later ones got it from there, but
    for those that have more of it."""
    before = 0
    for backend in LABELS:
        images = row["nonfinite"].get(backend, 0)
        if images > before:
            words = f"{nonfinite_text(backend, images)} of {row['images']:,}"
            yield Finding(owner_of(row, backend), backend, "nonfinite", images, 0, words)
            before = images


def holds_nonfinite(row: dict, pair: str) -> bool:
    """Whether a backend of the pair has NaN or infinity, which `nonfinite` tells of and owns."""
    return any(row["nonfinite"].get(backend) for backend in PAIRS[pair])


def unstable(row: dict) -> Iterable[Finding]:
    """Answers of OpenCV to the same input that are not the same each time."""
    stability = row["stability"]
    if stability["stable"] is False:
        rel = max((one["rel"] for one in stability["runs"] if one["rel"] is not None), default=None)
        words = f"the same input gives another answer from run to run; {stability_text(stability)}"
        yield Finding("engine", "opencv", "unstable", rel, 0, words)


def by_pair(row: dict, judge_pair: Callable[[str], Finding | None]) -> list[Finding]:
    """The findings of the export's and the engine's pair; that of the sum only without either."""
    parts = [judge_pair(pair) for pair in (EXPORT, ENGINE) if pair in row["parity"]]
    found = [finding for finding in parts if finding]
    if found or SUM not in row["parity"]:
        return found
    total = judge_pair(SUM)
    return [total] if total else []


def pair_text(pair: str) -> str:
    candidate, reference = PAIRS[pair]
    return f"{LABELS[candidate]} against {LABELS[reference]}"


def judge_rel(row: dict, pair: str, limits: Limits) -> Finding | None:
    rel, linf = row["parity"][pair]["rel"], row["parity"][pair]["linf"]
    words = f"{pair_text(pair)}: "
    if rel is None and linf is not None:
        if linf == 0:  # the reference is all zero, and so is the candidate
            return None
        words += f"all logits of {LABELS[PAIRS[pair][1]]} are 0, those of"
        words += f" {LABELS[PAIRS[pair][0]]} up to {linf:.2g}"
    elif rel is None:
        if holds_nonfinite(row, pair):
            return None
        words += f"rel is no number, so that nothing shows that it is within {limits.rel:g}"
    elif rel > limits.rel:
        words += f"rel {rel:.3g}, limit {limits.rel:g}"
    else:
        return None
    return Finding(owner_of(row, pair), pair, "rel", rel, limits.rel, words)


def judge_agreement(row: dict, pair: str, limits: Limits) -> Finding | None:
    parity = row["parity"][pair]
    agreement = with_ties(parity, limits)
    if holds_nonfinite(row, pair) or (agreement is not None and agreement >= limits.agreement):
        return None
    found = "no number" if agreement is None else f"{agreement:.6g} %"
    words = f"{pair_text(pair)}: agreement {found}, limit {limits.agreement:g} %"
    if agreement != parity["agreement"]:
        words += f" ({parity['ties']:.3g} % that are ties counted as the same)"
    return Finding(owner_of(row, pair), pair, "agreement", agreement, limits.agreement, words)


def with_ties(parity: dict, limits: Limits) -> float | None:
    """The agreement in percent with ties counted as the same: where rel is within its limit, as
    beyond it the measured error is no noise, and of a broken model most flips are below it."""
    agreement, rel = parity["agreement"], parity["rel"]
    if agreement is None or not is_within(rel, limits.rel):
        return agreement
    # Rounded, as 99.8 + 0.1 is less than 99.9.
    return round(agreement + (parity["ties"] or 0), 9)


def exceeded(parity: dict, limits: Limits) -> str | None:
    """What of a pair's figures is beyond its limit, in words; None where nothing is.

    `parity` has the keys `rel`, `agreement` and `ties` of `Parity.scores`. A figure that is no
    number is beyond every limit.
    """
    rel, agreement = parity["rel"], with_ties(parity, limits)
    if not is_within(rel, limits.rel):
        return f"rel {_figure(rel, '.2g')}, limit {limits.rel:g}"
    if agreement is None or not agreement >= limits.agreement:
        return f"agreement {_figure(agreement, '.6g')} %, limit {limits.agreement:g} %"
    return None


def is_within(rel: float | None, limit: float) -> bool:
    """Whether a relative difference is within its limit; NaN and None (NaN in JSON) are not."""
    return rel is not None and rel <= limit


def _figure(value: float | None, form: str) -> str:
    return "no number" if value is None or value != value else f"{value:{form}}"


def saved_by_ties(row: dict, limits: Limits) -> Iterable[Finding]:
    """The pairs whose agreement is within the limit only since ties count as the same."""
    for pair, parity in row["parity"].items():
        agreement = parity["agreement"]
        if agreement is None or agreement >= limits.agreement:
            continue
        if with_ties(parity, limits) >= limits.agreement:
            words = f"{pair_text(pair)}: agreement {agreement:.6g} %, limit {limits.agreement:g} %,"
            words += f" but {parity['ties']:.3g} % are ties"
            yield Finding("noise", pair, "agreement", agreement, limits.agreement, words)


def accuracy_lost(row: dict, limits: Limits) -> list[Finding]:
    """The steps at which accuracy is lost. What the engine loses is no loss against the reference
    where the export had gained as much."""
    total = loss(row, row["reference"], "opencv")
    within = total is not None and total <= limits.accuracy_loss

    def judge_pair(pair: str) -> Finding | None:
        candidate, reference = PAIRS[pair]
        lost = loss(row, reference, candidate)
        if lost is None or lost <= limits.accuracy_loss or (pair == ENGINE and within):
            return None
        before, after = (row["accuracy"][backend] for backend in (reference, candidate))
        words = f"{pair_text(pair)}: {row['metric']} {after:.2f} % after {before:.2f} %,"
        words += f" a loss of {lost:.3g} points, limit {limits.accuracy_loss:g}"
        owner = owner_of(row, pair)
        return Finding(owner, pair, "accuracy_loss", lost, limits.accuracy_loss, words)

    return by_pair(row, judge_pair)


def loss(row: dict, reference: str, candidate: str) -> float | None:
    """The percentage points that the candidate is worse by; None where either has no accuracy."""
    before, after = (row["accuracy"].get(backend) for backend in (reference, candidate))
    # Rounded, as 100 - 99.9 is more than 0.1.
    return None if before is None or after is None else round(before - after, 9)


def why_vacuous(row: dict, least_spread: float) -> str | None:
    """Why nothing of the model could have failed, in words; None where it could."""
    if not row["parity"]:
        return "no two backends were compared"
    if row["stability"]["stable"] is None:
        return "OpenCV ended in no run of the test whether its answers are the same each time"
    reference = LABELS[row["reference"]]
    parity = row["parity"].get(f"opencv_vs_{row['reference']}", next(iter(row["parity"].values())))
    if parity["rel"] is None:
        return f"all outputs of {reference} are 0, so that there is nothing to compare"
    if parity["spread"] is None:
        return "one image alone is compared, so that an output that ignores the image would pass"
    if parity["spread"] < least_spread:
        differ = f"the outputs of {reference} differ between images by {parity['spread']:.2g}"
        return f"{differ} of the largest logit, at least expected {least_spread:g}"
    return None
