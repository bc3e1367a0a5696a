"""When a model passes, and which step is to blame where it does not: rules without any I/O."""

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass

from pydantic import TypeAdapter

from parity.backends.contract import LABELS, PAIRS, failure_text
from parity.core.markdown import agreement_text
from parity.core.params import Params
from parity.evaluation.messages import distance_text, nonfinite_text, stability_text
from parity.evaluation.results import PairParity, Results, is_number

EXPORT, ENGINE, SUM = "onnxruntime_vs_pytorch", "opencv_vs_onnxruntime", "opencv_vs_pytorch"
OWNERS = {
    "model": "the model: the reference's own output is missing, NaN or infinite",
    "export": "the export: the ONNX file does not compute what the PyTorch model does",
    "mending": "the mending: the file that OpenCV reads is not proved to be the exported function",
    "engine": "the engine: OpenCV does not compute what the ONNX file says",
    "export and engine": "the export and the engine: each is within the limit, together they exceed"
    " it",
    "export or engine": "the export or the engine: only ONNX Runtime could tell them apart",
    "noise": "numerical noise: the two logits are closer than the measured error",
}
PASS, FAIL, VACUOUS = "pass", "FAIL", "vacuous"
TRAIN_IT = "use trained weights, or `weights: probe`"


@dataclass(frozen=True)
class Limits:
    """The largest `rel`, the least `agreement` (percent), the largest `accuracy_loss` (percentage
    points) and the largest ratio of `exactness` that pass; None where that is not known."""

    rel: float
    agreement: float
    accuracy_loss: float
    exactness: float | None = None


@dataclass(frozen=True)
class Finding:
    """A fault of a model, or a deviation that only its ties excuse.

    `subject` is a pair of backends or a single backend. `figure` is a parity key, `accuracy_loss`,
    `exactness`, `nonfinite`, `unstable` or the kind of a failure. `found` and `limit` are None for
    a figure without a number. `words` is the message, one line without the owner.
    """

    owner: str
    subject: str
    figure: str
    found: float | None
    limit: float | None
    words: str


@dataclass(frozen=True)
class Verdict:
    """PASS, FAIL or VACUOUS, with the reasons.

    The figures compare OpenCV with the reference, and are None without outputs of both.
    `exactness` is the ratio of their distances from the exact answer, None where that is not known
    either. `agreement` counts ties as the same class.
    """

    verdict: str
    owner: str
    exactness: float | None
    rel: float | None
    agreement: float | None
    accuracy_loss: float | None
    limits: Limits
    failures: tuple[Finding, ...]
    ties: tuple[Finding, ...]
    vacuous: str | None

    def content(self) -> dict:
        """Return the verdict as it is written to metrics/gate.json."""
        return asdict(self)


_VERDICT = TypeAdapter(Verdict)


def parse_verdict(content: dict) -> Verdict:
    """Return the verdict that `Verdict.content` was made from."""
    return _VERDICT.validate_python(content)


def gate_limits(params: Params, name: str, exactness_known: bool = False) -> Limits:
    """Return a model's limits: those of its task, with its overrides applied.

    With `exactness_known` its limit is one of them, and `rel` is only the backstop, unless the
    model has a `rel` of its own.
    """
    limits = params.gate.limits.of(params.models[name].task).model_dump()
    backstop = limits.pop("rel_backstop")
    if exactness_known:
        limits["rel"] = backstop
    if name in params.gate.overrides:
        limits |= params.gate.overrides[name].model_dump(exclude_none=True)
    return Limits(**limits if exactness_known else limits | {"exactness": None})


def verdict_of(results: Results, params: Params) -> Verdict:
    """Judge one model by the gate of params.yaml."""
    limits = gate_limits(params, results.model, results.exact.is_known)
    return judge(results, limits, params.gate.spread)


def judge(results: Results, limits: Limits, least_spread: float) -> Verdict:
    """Judge one model: FAIL with every finding, else VACUOUS where nothing could have failed."""
    failures = [
        *failure_findings(results),
        *mending_findings(results),
        *nonfinite_findings(results),
        *instability_findings(results),
        *exactness_findings(results, limits),
        *findings_by_pair(results, lambda pair: rel_finding(results, pair, limits)),
        *findings_by_pair(results, lambda pair: agreement_finding(results, pair, limits)),
        *accuracy_findings(results, limits),
    ]
    vacuous = None if failures else why_vacuous(results, least_spread)
    parity = results.parity_with_reference
    return Verdict(
        verdict=FAIL if failures else VACUOUS if vacuous else PASS,
        owner=", ".join(dict.fromkeys(failure.owner for failure in failures)) or "-",
        exactness=results.exact.ratio.get("opencv"),
        rel=parity and parity.rel,
        agreement=parity and with_ties(parity, limits),
        accuracy_loss=accuracy_loss(results, results.reference, "opencv"),
        limits=limits,
        failures=tuple(failures),
        ties=tuple(tie_findings(results, limits)),
        vacuous=vacuous,
    )


def exceeded(parity: PairParity, limits: Limits) -> str | None:
    """Say which of a pair's figures is beyond its limit; None where all are within."""
    return excess_of_rel(parity, limits) or excess_of_agreement(parity, limits)


def excess_of_rel(parity: PairParity, limits: Limits) -> str | None:
    """Say how `rel` exceeds its limit. Two outputs that are 0 everywhere have no rel and do not."""
    if is_within(parity.rel, limits.rel) or parity.linf == 0:
        return None
    if is_number(parity.rel):
        return f"rel {parity.rel:.3g}, limit {limits.rel:g}"
    if is_number(parity.linf):
        return f"the reference's logits are all 0, the other's up to {parity.linf:.2g}"
    return f"rel is not a number, limit {limits.rel:g}"


def excess_of_agreement(parity: PairParity, limits: Limits) -> str | None:
    """Say how the agreement, ties included, falls short of its limit."""
    agreement = with_ties(parity, limits)
    if not is_number(agreement):
        return f"agreement is not a number, limit {limits.agreement:g} %"
    if agreement >= limits.agreement:
        return None
    text = f"agreement {agreement_text(agreement)} %, limit {limits.agreement:g} %"
    return text if agreement == parity.agreement else f"{text} (with {parity.ties:.3g} % ties)"


def with_ties(parity: PairParity, limits: Limits) -> float | None:
    """Return the agreement in percent with ties counted as the same class.

    They count only where `rel` is within its limit: beyond it, the measured error is no noise, and
    most flips of a broken model are below it.
    """
    if not is_number(parity.agreement) or not is_within(parity.rel, limits.rel):
        return parity.agreement
    # Rounded because 99.8 + 0.1 < 99.9 in floating point.
    return round(parity.agreement + (parity.ties or 0), 9)


def is_within(rel: float | None, limit: float) -> bool:
    """Whether a relative difference is within its limit; NaN and None (NaN in JSON) are not."""
    return rel is not None and rel <= limit


def owner_of(results: Results, subject: str) -> str:
    """Return who owns a deviation of a pair, or a fault in a single backend's output."""
    owners = {EXPORT: "export", ENGINE: "engine", "onnxruntime": "export", "opencv": "engine"}
    if subject == SUM:
        return "export and engine" if ENGINE in results.parity else "export or engine"
    return "model" if subject == results.reference else owners[subject]


def failure_findings(results: Results) -> Iterable[Finding]:
    """Find the backends without any output."""
    for backend, failure in results.failures.items():
        words = failure_text(backend, failure)
        yield Finding(owner_of(results, backend), backend, failure["kind"], None, None, words)


def mending_findings(results: Results) -> Iterable[Finding]:
    """Find the parts of the proof that do not hold of a mended file."""
    proof = results.mending.proof if results.mending else {}
    for part, holds in proof.items():
        if not holds:
            words = f"{results.mending.text}; not the same function: {part}"
            yield Finding("mending", "opencv", "mending", None, None, words)


def nonfinite_findings(results: Results) -> Iterable[Finding]:
    """Find the backends that introduce NaN or infinity: each with more than those before it."""
    most = 0
    for backend in LABELS:
        images = results.nonfinite.get(backend, 0)
        if images > most:
            words = f"{nonfinite_text(backend, images)} of {results.images:,}"
            yield Finding(owner_of(results, backend), backend, "nonfinite", images, 0, words)
            most = images


def has_nonfinite(results: Results, pair: str) -> bool:
    """Whether either backend of a pair has NaN or infinity, a finding of its own."""
    return any(results.nonfinite.get(backend) for backend in PAIRS[pair])


def instability_findings(results: Results) -> Iterable[Finding]:
    """Find OpenCV answering the same input differently from run to run."""
    stability = results.stability
    if stability.stable is False:
        rel = max((run.rel for run in stability.runs if run.rel is not None), default=None)
        words = f"the same input gives another answer from run to run; {stability_text(stability)}"
        yield Finding("engine", "opencv", "unstable", rel, 0, words)


def exactness_findings(results: Results, limits: Limits) -> Iterable[Finding]:
    """Find the steps that take OpenCV farther from the exact answer than rounding explains.

    The export is one if ONNX Runtime, which reads the same file, is too far as well; the engine is
    one if the export is not, or if OpenCV is too far even from where ONNX Runtime is.
    """
    ratio, limit = results.exact.ratio, limits.exactness
    opencv, referee = ratio.get("opencv"), ratio.get("onnxruntime")
    if limit is None or not is_number(opencv) or opencv <= limit:
        return

    def finding(owner: str, backend: str) -> Finding:
        words = distance_text(backend, ratio[backend], results.reference, limit)
        return Finding(owner, backend, "exactness", ratio[backend], limit, words)

    if is_number(referee) and referee > limit:
        yield finding("export", "onnxruntime")
        if opencv > limit * referee:
            yield finding("engine", "opencv")
    else:
        is_engine = is_number(referee) or results.reference == "onnxruntime"
        yield finding("engine" if is_engine else "export or engine", "opencv")


def findings_by_pair(results: Results, find: Callable[[str], Finding | None]) -> list[Finding]:
    """Apply `find` to the export's and the engine's pair; to their sum only if both are clean."""
    steps = [find(pair) for pair in (EXPORT, ENGINE) if pair in results.parity]
    found = [finding for finding in steps if finding]
    if found or SUM not in results.parity:
        return found
    total = find(SUM)
    return [total] if total else []


def pair_text(pair: str) -> str:
    candidate, reference = PAIRS[pair]
    return f"{LABELS[candidate]} against {LABELS[reference]}"


def rel_finding(results: Results, pair: str, limits: Limits) -> Finding | None:
    parity = results.parity[pair]
    excess = excess_of_rel(parity, limits)
    if excess is None or (has_nonfinite(results, pair) and not is_number(parity.linf)):
        return None
    words = f"{pair_text(pair)}: {excess}"
    return Finding(owner_of(results, pair), pair, "rel", parity.rel, limits.rel, words)


def agreement_finding(results: Results, pair: str, limits: Limits) -> Finding | None:
    parity = results.parity[pair]
    excess = excess_of_agreement(parity, limits)
    if excess is None or has_nonfinite(results, pair):
        return None
    found, words = with_ties(parity, limits), f"{pair_text(pair)}: {excess}"
    return Finding(owner_of(results, pair), pair, "agreement", found, limits.agreement, words)


def tie_findings(results: Results, limits: Limits) -> Iterable[Finding]:
    """Find the pairs whose agreement is within the limit only because ties count as the same."""
    for pair, parity in results.parity.items():
        if not is_number(parity.agreement) or parity.agreement >= limits.agreement:
            continue
        if with_ties(parity, limits) >= limits.agreement:
            words = f"{pair_text(pair)}: agreement {agreement_text(parity.agreement)} %,"
            words += f" limit {limits.agreement:g} %, but {parity.ties:.3g} % are ties"
            yield Finding("noise", pair, "agreement", parity.agreement, limits.agreement, words)


def accuracy_findings(results: Results, limits: Limits) -> list[Finding]:
    """Find the steps that lose accuracy.

    A loss in the engine is ignored if the total loss is within the limit, because the export gained
    what the engine lost.
    """
    total = accuracy_loss(results, results.reference, "opencv")
    total_is_within = total is not None and total <= limits.accuracy_loss

    def find(pair: str) -> Finding | None:
        candidate, reference = PAIRS[pair]
        lost = accuracy_loss(results, reference, candidate)
        if lost is None or lost <= limits.accuracy_loss or (pair == ENGINE and total_is_within):
            return None
        before, after = (results.accuracy[backend] for backend in (reference, candidate))
        words = f"{pair_text(pair)}: {results.metric} {after:.2f} % after {before:.2f} %,"
        words += f" a loss of {lost:.3g} points, limit {limits.accuracy_loss:g}"
        owner = owner_of(results, pair)
        return Finding(owner, pair, "accuracy_loss", lost, limits.accuracy_loss, words)

    return findings_by_pair(results, find)


def accuracy_loss(results: Results, reference: str, candidate: str) -> float | None:
    """Return by how many percentage points the candidate is worse; None without both accuracies."""
    before, after = (results.accuracy.get(backend) for backend in (reference, candidate))
    # Rounded because 100 - 99.9 > 0.1 in floating point.
    return None if before is None or after is None else round(before - after, 9)


def why_vacuous(results: Results, least_spread: float) -> str | None:
    """Say why nothing of the model could have failed, and what to do; None where it could."""
    if not results.parity:
        return "no two backends were compared"
    if results.stability.stable is None:
        return (
            "OpenCV failed in every run of the stability test, so its stability is unknown:"
            f" see metrics/stability/{results.model}.json"
        )
    parity = results.parity_with_reference or next(iter(results.parity.values()))
    if not is_vacuous(parity, least_spread):
        return None
    reference = LABELS[results.reference]
    if not is_number(parity.rel):
        return f"all outputs of {reference} are 0, so nothing is compared: {TRAIN_IT}"
    if not is_number(parity.spread):
        return (
            "only one image is compared, so an output that ignores its input would pass: compare"
            " two or more (`parity.images`, `limit` of the dataset)"
        )
    return (
        f"the outputs of {reference} differ between images by only {parity.spread:.2g} of the"
        f" largest logit, expected at least {least_spread:g}: {TRAIN_IT}, or more varied images"
    )


def is_vacuous(parity: PairParity, least_spread: float) -> bool:
    """Whether two backends could only agree: the reference's outputs are 0, of a single image, or
    differ between images by less than `least_spread` of the largest logit."""
    comparable = is_number(parity.rel) and is_number(parity.spread)
    return not (comparable and parity.spread >= least_spread)
