"""The answer of `make operators`: the record, a page in Markdown and a picture.

A full run writes metrics/operators.json, OPERATORS.md and plots/operators.png, which Git tracks; a
narrowed run writes data/operators/narrowed/, which it does not.
"""

import os
import textwrap
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from parity.core.answer_files import AnswerFiles
from parity.core.files import write_text
from parity.core.markdown import difference_text, markdown_table
from parity.core.versions import version_numbers
from parity.operators.cells import FOLDER
from parity.operators.picture import draw
from parity.operators.record import (
    RECORD,
    Column,
    Finding,
    OperatorRecord,
    record_text,
)
from parity.operators.verdicts import MEANINGS, SILENT, VERDICTS, WRONG

GUIDE = Path("docs/operators.md")
TESTS_NAMED = 2  # of each fault in a row of the table
REASONS_NAMED = 2  # of refusals, in a row of the table


FULL = AnswerFiles(RECORD, Path("OPERATORS.md"), Path("plots/operators.png"))
NARROWED = FULL.inside(FOLDER / "narrowed")


def write_answer(record: OperatorRecord, files: AnswerFiles, dpi: int) -> None:
    """Write the record, the page and the picture, and print the totals."""
    write_text(files.record, record_text(record))
    write_text(files.page, page(record, files))
    draw(files.picture, record, dpi)
    print(totals(record), end="")


def page(record: OperatorRecord, files: AnswerFiles = FULL) -> str:
    """The whole page, in Markdown; its links are relative to where it is written."""
    link, picture, guide = (
        Path(os.path.relpath(path, files.page.parent)).as_posix()
        for path in (files.record, files.picture, GUIDE)
    )
    conditions = record.conditions
    intro = (
        "Which operators does OpenCV's DNN module compute right? Written by `make operators`;"
        f" [{link}]({link}) holds the same for scripts, and [{guide}]({guide}) explains how it was"
        f" measured: {conditions['cases']:,} cases, ONNX's own tests in up to three forms each"
        f"{' and variations of our own' if record.causes else ''}, run twice in a plain process and"
        " on dirty heaps, in each engine of each version."
        f" onnx {conditions['onnx']}, onnxruntime {conditions['onnxruntime']},"
        f" numpy {conditions['numpy']}."
    )
    found = {finding.verdict for finding in record.findings} | {"right"}
    legend = [f"- **{name}**: {words}." for name, words in MEANINGS.items() if name in found]
    reading = (
        "A row counts the cases that are right, of those that OpenCV can be asked. *(expanded)*:"
        " the operator's definition as nodes of other operators. The last column has the number of"
        " wrong cases by cause, and by verdict where no cause explains them. A version or an engine"
        " in brackets says where a fault is: *since* the version that brought it, *until* the last"
        " that has it; without brackets it is everywhere."
    )
    sections = [
        "# Which operators OpenCV computes right",
        _filled(intro),
        totals(record).rstrip("\n"),
        "\n".join(legend),
        "Right of how many that OpenCV can be asked, by the form of the cases:",
        forms_table(record).rstrip("\n"),
        f"![Verdicts on each operator, by engine and version]({picture})",
        *causes_sections(record),
        "## Operators",
        _filled(reading),
        operators_table(record).rstrip("\n"),
        *silent_sections(record),
        *dispute_sections(record),
        *inapplicable_sections(record),
    ]
    return "\n\n".join(sections) + "\n"


def totals(record: OperatorRecord) -> str:
    """How many cases have which verdict: a table with a row for each column of the record."""
    counts = {column: Counter() for column in record.columns}
    for columns in record.counts.values():
        for column, count in columns.items():
            counts[column] += count
    used = [name for name in VERDICTS if any(count[name] for count in counts.values())]
    rows = [["engine and OpenCV", *used]]
    rows += [
        [str(column), *(f"{count[name]:,}" for name in used)] for column, count in counts.items()
    ]
    return markdown_table(rows, left=1)


def forms_table(record: OperatorRecord) -> str:
    """Right of how many that OpenCV can be asked, by the form of the cases."""
    forms = record.conditions["forms"]
    rows = [["engine and OpenCV", *forms]]
    for column in record.columns:
        found = Counter()
        for one in record.findings:
            if one.column == column:
                found[one.form, one.verdict == "not applicable"] += 1
        asked = {form: number - found[form, True] for form, number in forms.items()}
        texts = (f"{asked[form] - found[form, False]:,}/{asked[form]:,}" for form in forms)
        rows.append([str(column), *texts])
    return markdown_table(rows, left=1)


def operators_table(record: OperatorRecord) -> str:
    """A row for each operator: right of how many in each column, and what is wrong in words."""
    faults = defaultdict(list)
    for finding in record.findings:
        if finding.verdict in WRONG:
            faults[finding.operator].append(finding)
    rows = [["operator", *map(str, record.columns), "what is wrong"]]
    for operator, counts in record.counts.items():
        rights = [right_text(counts[column]) for column in record.columns]
        words = faults_text(faults[operator], record.columns)
        rows.append([operator, *rights, words if {*rights} != {"-"} else "not applicable"])
    return markdown_table(rows, left=1, words=True)


def right_text(counts: Counter) -> str:
    """Right of how many that OpenCV can be asked; `-` where it can be asked about none."""
    asked = counts.total() - counts["not applicable"]
    return f"{counts['right']}/{asked}" if asked else "-"


def faults_text(findings: Collection[Finding], columns: Sequence[Column]) -> str:
    """What is wrong with an operator, in words: the known causes first, then the other silent
    faults, then refusals and crashes; of each the number of cases and where it is."""
    texts = _by_cause([one for one in findings if one.is_explained], columns)
    for verdict in WRONG:
        found = [one for one in findings if one.verdict == verdict and not one.is_explained]
        if verdict in ("refused", "hangs", "crashed"):
            texts += _by_reason(verdict, found, columns)
        else:
            texts += _by_place(verdict, found, columns)
    return "; ".join(texts).replace("|", "\\|") or "nothing"


def _by_cause(findings: Collection[Finding], columns: Sequence[Column]) -> list[str]:
    """One text for each cause, the most frequent ones first."""
    places = _columns_of(findings, lambda one: one.cause)
    counts = Counter(cause for cause, _, _ in {(one.cause, *one.test) for one in findings})
    return [
        f"{cause_words(cause)}: {number}{where_text(places[cause], columns)}"
        for cause, number in counts.most_common()
    ]


def _by_place(verdict: str, findings: list[Finding], columns: Sequence[Column]) -> list[str]:
    """One text for the cases that are wrong in the same columns."""
    places, texts = _columns_of(findings, lambda one: one.test), []
    by_columns = defaultdict(list)
    for key, own in places.items():
        by_columns[tuple(own)].append(key)
    for own, keys in by_columns.items():
        names = list(dict.fromkeys(short_name(case) for case, _ in keys))
        rel = max((one.rel or 0 for one in findings if one.test in keys), default=0)
        size = f", rel up to {difference_text(rel)}" if rel else ""
        named = ", ".join(f"`{name}`" for name in names[:TESTS_NAMED])
        more = ", …" if len(names) > TESTS_NAMED else ""
        texts.append(f"{verdict}: {len(keys)} ({named}{more}{size}){where_text(own, columns)}")
    return texts


def _by_reason(verdict: str, findings: list[Finding], columns: Sequence[Column]) -> list[str]:
    """One text for each reason, the most frequent ones first."""
    counts = Counter(one.detail for one in findings)
    places = _columns_of(findings, lambda one: one.detail)
    texts = []
    for reason, _ in counts.most_common(REASONS_NAMED):
        number = len({one.test for one in findings if one.detail == reason})
        texts.append(f"{verdict}: {number} ({reason}){where_text(places[reason], columns)}")
    if len(counts) > REASONS_NAMED:
        more = len(counts) - REASONS_NAMED
        texts.append(f"{verdict} for {more} other reason{'s' if more > 1 else ''}")
    return texts


def _columns_of(findings: Iterable[Finding], key) -> dict:
    found = defaultdict(list)
    for one in findings:
        if one.column not in found[key(one)]:
            found[key(one)].append(one.column)
    return found


def where_text(affected: Collection[Column], columns: Sequence[Column]) -> str:
    """Say in brackets in which columns a fault is, and since or until which version of OpenCV;
    empty where it is in all."""
    if set(affected) == set(columns):
        return ""
    texts = []
    for engine in dict.fromkeys(column.engine for column in columns):
        versions = sorted(
            (column.opencv for column in columns if column.engine == engine), key=version_numbers
        )
        wrong = [one for one in versions if Column(engine, one) in affected]
        if wrong:
            texts.append(f"{engine}{_span(wrong, versions)}")
    return f" [{', '.join(texts)}]"


def _span(wrong: list[str], versions: list[str]) -> str:
    """The versions of an engine that are wrong, oldest first, in words."""
    if wrong == versions:
        return ""
    if wrong == versions[-len(wrong) :]:
        return f" since {wrong[0]}"
    if wrong == versions[: len(wrong)]:
        return f" until {wrong[-1]}"
    return f" {' and '.join(wrong)}"


def silent_sections(record: OperatorRecord) -> list[str]:
    """The cases that the newest OpenCV gets wrong without an error, a table for each engine; less
    those that a cause explains."""
    sections = []
    for column in record.columns:
        silent = [one for one in record.findings if one.column == column and one.verdict in SILENT]
        explained = sum(one.is_explained for one in silent)
        rows = [["operator", "case", "form", "verdict", "rel", "detail"]]
        rows += [
            [
                one.operator,
                short_name(one.case),
                one.form,
                one.verdict,
                difference_text(one.rel),
                one.detail.replace("|", "\\|"),
            ]
            for one in silent
            if not one.is_explained
        ]
        if column.opencv == record.columns[0].opencv and len(rows) > 1:
            table = markdown_table(rows, left=4, words=True)
            title = f"{column}: {len(rows) - 1} cases"
            title += f", beside {explained} that the causes above explain" if explained else ""
            sections.append(folded(title, table))
    return ["## Wrong without an error", *sections] if sections else []


def causes_sections(record: OperatorRecord) -> list[str]:
    """What OpenCV does wrong, by the causes that generated cases probe: how many cases of a cause
    are wrong in each column."""
    if not record.causes:
        return []
    wrong = {
        key: Counter(one.column for one in record.findings if one.cause == key and one.is_explained)
        for key in record.causes
    }
    rows = [
        ["cause", "cases", *(f"wrong in {column}" for column in record.columns), "what it does"]
    ]
    rows += [
        [
            cause_words(key),
            str(cause.cases),
            *(str(wrong[key][column]) for column in record.columns),
            cause.text.replace("|", "\\|"),
        ]
        for key, cause in record.causes.items()
    ]
    return ["## Causes", markdown_table(rows, left=1, words=True).rstrip("\n")]


def dispute_sections(record: OperatorRecord) -> list[str]:
    """The cases where ONNX's expected output and ONNX Runtime disagree, and with whom OpenCV
    agrees; both count as right."""
    if not record.disputes:
        return []
    intro = (
        "On these cases ONNX's expected output and ONNX Runtime disagree. OpenCV is right if it"
        " agrees with one of them; the columns say with which."
    )
    rows = [["case", "form", *map(str, record.columns), "the disagreement"]]
    rows += [
        [
            short_name(one.case),
            one.form,
            *(one.sides.get(column, "-") for column in record.columns),
            one.text,
        ]
        for one in record.disputes
    ]
    table = markdown_table(rows, left=2 + len(record.columns), words=True)
    return [
        "## Where ONNX and ONNX Runtime disagree",
        _filled(intro),
        folded(f"{len(record.disputes)} cases", table),
    ]


def inapplicable_sections(record: OperatorRecord) -> list[str]:
    """How many cases OpenCV cannot be asked about, by the reason."""
    found = [one for one in record.findings if one.verdict == "not applicable"]
    if not found:
        return []
    reasons = Counter(one.detail for one in found)
    rows = [["reason", *map(str, record.columns)]]
    for reason, _ in reasons.most_common():
        counts = Counter(one.column for one in found if one.detail == reason)
        rows.append([reason, *(str(counts[column]) for column in record.columns)])
    return ["## Not applicable", markdown_table(rows, left=1).rstrip("\n")]


def folded(title: str, content: str) -> str:
    return f"<details><summary>{title}</summary>\n\n{content}\n</details>"


def cause_words(key: str) -> str:
    return key.replace("_", " ")


def short_name(case: str) -> str:
    """The name of a case without what all of ONNX's tests of nodes have in common."""
    return case.removeprefix("onnx/test_")


def _filled(text: str) -> str:
    return textwrap.fill(text, 100, break_long_words=False, break_on_hyphens=False)
