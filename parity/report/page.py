"""The report of a run: the verdict, a table of all models, a section for each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from parity.backends.contract import BACKENDS, LABELS, PAIRS, failure_text
from parity.core.files import read_json, reading
from parity.core.markdown import (
    NOTHING,
    agreement_text,
    difference_text,
    loss_text,
    ratio_text,
)
from parity.core.params import ModelParams, Params
from parity.core.paths import GATE, REPORT, VEGA
from parity.evaluation.messages import nonfinite_text, stability_text
from parity.evaluation.results import Results, is_number, read_results
from parity.evaluation.shown_times import mark, shown_results, time_notes
from parity.evaluation.summary import accuracy_text, has_published, milliseconds, speed_text
from parity.evaluation.verdict import FAIL, OWNERS, PASS, VACUOUS, Finding, Verdict
from parity.evaluation.verdict_report import WORST_FIRST, count_text, parse_gate
from parity.report.changes import find_changes
from parity.report.charts import Chart, depth_chart, parity_chart, times_chart
from parity.report.details import Details, read_details
from parity.report.devices import Devices, read_devices
from parity.report.findings import Findings, read_findings
from parity.report.html import source, write_page
from parity.report.times import conditions_of, rounds_of, timings_of

# A word, a sign and a class of the style for each verdict: no colour stands alone.
SIGNS = {PASS: ("✓", "good"), FAIL: ("✗", "bad"), VACUOUS: ("?", "unsure")}
MOST_NAMED = 5  # models in the headline


@dataclass(frozen=True)
class Column:
    """A column of a table; `kind` is `text` or `number`, and `hint` explains the heading."""

    heading: str
    kind: str = "number"
    hint: str = ""


@dataclass(frozen=True)
class Cell:
    """A cell of a table: its text, and the value to sort by, None for the end."""

    text: str
    sort: str | float | None


@dataclass(frozen=True)
class Section:
    """All that the page shows of a model."""

    results: Results
    verdict: Verdict
    entry: ModelParams
    details: Details
    findings: Findings | None
    devices: Devices | None
    depth: Chart | None

    @property
    def name(self) -> str:
        return self.results.model

    @property
    def sign(self) -> str:
        return SIGNS[self.verdict.verdict][0]

    @property
    def look(self) -> str:
        return SIGNS[self.verdict.verdict][1]

    @property
    def reasons(self) -> list[str]:
        """Why the model does not pass, and what else a reader must know, a sentence each."""
        lines = [_reason(finding) for finding in self.verdict.failures]
        lines += [_reason(finding) for finding in self.verdict.ties]
        lines += [f"vacuous, not passed: {self.verdict.vacuous}"] if self.verdict.vacuous else []
        results = self.results
        named = {finding.subject for finding in self.verdict.failures}
        lines += [
            failure_text(backend, failure)
            for backend, failure in results.failures.items()
            if backend not in named
        ]
        lines += [nonfinite_text(*one) for one in results.nonfinite.items() if one[1]]
        if results.exact.reason:
            lines.append(f"no exact answer: {results.exact.reason}")
        return lines

    @property
    def run(self) -> dict[str, str]:
        """What was run, in words, by heading."""
        entry, results = self.entry, self.results
        network = entry.onnx or entry.factory or f"torchvision's {self.name}"
        words = {"network": str(network), "weights": str(entry.weights), "task": results.task}
        if entry.onnx:
            del words["weights"]
        words |= {
            "images": f"{results.images:,}, preprocessed by the profile {entry.preprocess}",
            "preprocessing, as flags of run_onnx.py": self.details.flags,
            "file that OpenCV reads": f"models/{self.name}/mended.onnx,"
            f" {self.details.file_mb:.1f} MB",
        }
        words |= {"mending": results.mending.text} if results.mending else {}
        words["stability"] = stability_text(results.stability)
        return words | conditions_of(results)

    @property
    def parity_rows(self) -> list[tuple[str, ...]]:
        """A row for each pair: candidate against reference, and the figures."""
        return [
            (
                f"{LABELS[PAIRS[pair][0]]} against {LABELS[PAIRS[pair][1]]}",
                difference_text(parity.rel),
                difference_text(parity.linf),
                difference_text(parity.l1),
                agreement_text(parity.agreement),
                agreement_text(parity.ties),
            )
            for pair, parity in self.results.parity.items()
        ]

    @property
    def backend_rows(self) -> list[tuple[str, ...]]:
        """A row for each backend: accuracy, distance from the exact answer, times."""
        results, timings, rows = self.results, timings_of(self.results), []
        for backend, label in LABELS.items():
            if backend not in results.scores and backend not in timings:
                continue
            exact = results.exact.distances.get(backend)
            timing = timings.get(backend)
            rows.append(
                (
                    label,
                    *(
                        accuracy_text(results.scores.get(backend, {}).get(one))
                        for one in self.scores
                    ),
                    difference_text(exact.rms if exact else None),
                    ratio_text(results.exact.ratio.get(backend)),
                    milliseconds(timing.median_ms) if timing else NOTHING,
                    milliseconds(timing.p95_ms) if timing else NOTHING,
                )
            )
        return rows

    @property
    def scores(self) -> list[str]:
        """The names of the accuracies."""
        return list(dict.fromkeys(key for one in self.results.scores.values() for key in one))

    @property
    def class_backends(self) -> list[str]:
        """The backends with figures by class."""
        return [one for one in BACKENDS if all(one in row.figures for row in self.details.classes)]

    @property
    def limits(self) -> str:
        """The gate's limits in words."""
        limits = self.verdict.limits
        words = [f"rel {limits.rel:g}", f"agreement {limits.agreement:g} %"]
        words.append(f"loss of accuracy {limits.accuracy_loss:g} points")
        if limits.exactness is not None:
            words.append(f"exactness {limits.exactness:g} times {LABELS[self.results.reference]}'s")
        return ", ".join(words)


def _reason(finding: Finding) -> str:
    return f"{finding.words}; owner: {OWNERS[finding.owner]}"


def write_report(params: Params, against: str = "") -> Path:
    """Write the report of all models of params.yaml; returns where. Raises Damaged.

    With `against`, a revision of Git or an experiment of DVC, another page that also says what
    changed since then; raises InputError where there is none.
    """
    changes = find_changes(against) if against else []
    page = REPORT.with_stem(f"{REPORT.stem}-against") if against else REPORT
    _, verdicts, _ = read_json(GATE, parse_gate)
    sections = [read_section(name, params, verdicts[name]) for name in params.models]
    sections.sort(key=lambda one: WORST_FIRST.index(one.verdict.verdict))
    models = [section.results for section in sections]
    columns, rows = model_table(sections)
    rounds = {results.model: rounds_of(results) for results in models}
    charts = [parity_chart(models, verdicts), times_chart(rounds)]
    with reading(VEGA):
        vega = VEGA.read_text(encoding="utf-8")
    write_page(
        page,
        "report.html",
        [vega, source("tables.js"), source("report.js")],
        headline=headline(sections),
        look=sections[0].look,
        sign=sections[0].sign,
        count=count_text(verdicts),
        columns=columns,
        rows=rows,
        verdicts=[one for one in WORST_FIRST if any(s.verdict.verdict == one for s in sections)],
        charts=[chart for chart in charts if chart],
        time_notes=time_notes(models),
        sections=sections,
        labels=LABELS,
        against=against,
        changes=changes,
    )
    return page


def read_section(name: str, params: Params, verdict: Verdict) -> Section:
    """Read what the stages and tools left about a model; raises Damaged."""
    findings = None if verdict.verdict == PASS else read_findings(name)
    return Section(
        results=shown_results(read_results(name), verdict),
        verdict=verdict,
        entry=params.models[name],
        details=read_details(name),
        findings=findings,
        devices=read_devices(name),
        depth=depth_chart(findings.points) if findings and findings.points else None,
    )


def headline(sections: Sequence[Section]) -> str:
    """The answer in a sentence or two."""
    names: dict[str, list[str]] = {
        one: [_with_cause(section) for section in sections if section.verdict.verdict == one]
        for one in WORST_FIRST
    }
    total, right = len(sections), len(names[PASS])
    noun = "model gives" if total == 1 else "models give"
    has_pytorch = all(section.results.reference == "pytorch" for section in sections)
    whose = "PyTorch's" if has_pytorch else "the reference's"
    text = f"{right} of {total} {noun} {whose} answers in OpenCV."
    if names[FAIL]:
        verb = "does" if len(names[FAIL]) == 1 else "do"
        text += f" {_listed(names[FAIL])} {verb} not."
    if names[VACUOUS]:
        verb = "shows" if len(names[VACUOUS]) == 1 else "show"
        text += f" {_listed(names[VACUOUS])} {verb} nothing."
    return text


def _with_cause(section: Section) -> str:
    """A model's name with the owner of its fault and the node that was located."""
    if section.verdict.verdict != FAIL:
        return section.name
    node = section.findings.node if section.findings else None
    return f"{section.name} ({section.verdict.owner}{f', from {node} on' if node else ''})"


def _listed(names: Sequence[str]) -> str:
    shown = list(names[:MOST_NAMED])
    if len(names) > MOST_NAMED:
        shown.append(f"{len(names) - MOST_NAMED} more")
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def model_table(
    sections: Sequence[Section],
) -> tuple[list[Column], list[tuple[Section, list[Cell]]]]:
    """Return the columns behind the model's name and verdict, and a row for each model."""
    published = has_published([section.results for section in sections])
    backends = {backend: LABELS[backend] for backend in BACKENDS}
    columns = [
        Column("owner", "text", "the step that broke it"),
        *(Column(f"{name} %", hint="accuracy: acc@1 or mean IoU") for name in backends.values()),
        *([Column("published %", hint="on the original dataset")] if published else []),
        Column("rel", hint="largest difference of OpenCV's logits over the largest logit"),
        Column("exact", hint="distance from float64's answer over the reference's; 1 is as exact"),
        Column("agree %", hint="images or pixels with the same class"),
        Column("loss", hint="percentage points of accuracy"),
        *(Column(f"{name} ms", hint="median") for name in backends.values()),
        Column("OpenCV/PyTorch", hint="ratio of the medians, with its confidence interval"),
        Column("MB", hint="the file that OpenCV reads"),
    ]
    return columns, [(section, _cells(section, published)) for section in sections]


def _cells(section: Section, published: bool) -> list[Cell]:
    results, verdict = section.results, section.verdict
    parity, medians = results.parity_with_reference, results.medians
    accuracy = [results.accuracy.get(backend) for backend in BACKENDS]
    ratio = results.benchmark.ratio if results.benchmark else None
    return [
        Cell(verdict.owner, verdict.owner),
        *(_cell(value, accuracy_text) for value in accuracy),
        *([_cell(results.published, accuracy_text)] if published else []),
        _cell(verdict.rel, difference_text),
        _cell(verdict.exactness, ratio_text),
        _cell(parity.agreement if parity else None, agreement_text),
        _cell(verdict.accuracy_loss, loss_text),
        *(_cell(medians.get(one), lambda ms: milliseconds(ms) + mark(results)) for one in BACKENDS),
        Cell(speed_text(results), ratio if is_number(ratio) else None),
        _cell(section.details.file_mb, "{:.1f}".format),
    ]


def _cell(value: float | None, text: Mapping) -> Cell:
    return Cell(text(value), value) if is_number(value) else Cell(NOTHING, None)
