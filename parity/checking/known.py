"""What is known to be wrong with a file before it runs: rules of mending that fit it, causes that
affect its nodes, and operators whose tests fail. The record of operators says in which engine and
version of OpenCV."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import onnx_ir as ir
from onnx import GraphProto, ModelProto, NodeProto

from parity.core.cli import log
from parity.core.files import read_json
from parity.core.versions import version_numbers
from parity.coverage.cells import RECORD as ZOO
from parity.coverage.cells import Combination
from parity.graphs.graph import producers
from parity.graphs.provenance import node_name
from parity.mending.steps import Step
from parity.networks.external_data import shown
from parity.networks.onnx_file import DOMAIN
from parity.operators.causes import CAUSES, affected
from parity.operators.record import RECORD as OPERATORS
from parity.operators.record import Column, Finding, OperatorRecord, read_record

CHECKOUT = Path(__file__).parents[2]  # the records are read there, whatever the current folder is
RELEASE = 3  # numbers that name a release of OpenCV; the package adds that of its build
MOST = 3  # names in a line
LEAST_SHARE = 0.05  # of an operator's tests: fewer that fail say little about a node


@dataclass(frozen=True)
class Known:
    """Something known to be wrong in an engine of a version of OpenCV, at nodes of a file.

    `source` is `rule` where a rule of mending fits the nodes, which `rule` then names, `cause`
    where a cause of the record of operators affects them, and `operators` where tests of their
    operator fail for no such cause. `certain` says that all tests fail; otherwise attributes,
    shapes or values may decide whether these nodes are affected.
    """

    opencv: str
    engine: str
    operator: str
    nodes: tuple[str, ...]
    reason: str
    source: str
    certain: bool = False
    rule: str | None = None

    @property
    def text(self) -> str:
        mended = f"; `{self.rule}` mends it" if self.rule else ""
        return f"{self.operator} ({names_text(self.nodes)}): {self.reason}{mended}"


@dataclass(frozen=True)
class Records:
    """The records that the project ships: `operators` is None where it was never measured, `zoo`
    maps a rule, version and engine to the models that it mends there, and `columns` are the
    versions of OpenCV in both, each with its engines."""

    operators: OperatorRecord | None = None
    zoo: Mapping[tuple[str, str, str], Sequence[str]] = field(default_factory=dict)
    columns: frozenset[tuple[str, str]] = frozenset()

    def of_release(self, opencv: str) -> str | None:
        """Return the newest version in the records of the release that `opencv`, as 5.0.0 or
        5.0.0-dev, belongs to."""
        return max(
            (one for one, _ in self.columns if release(one) == release(opencv)), default=None
        )

    def upgrade(self, opencv: str) -> str | None:
        """Return the newest version in the records if its release is newer than `opencv`'s."""
        newest = max((one for one, _ in self.columns), key=release, default=None)
        return newest if newest and release(newest) > release(opencv) else None

    def engines(self, opencv: str) -> list[str]:
        """Return the engines of a version that the records know."""
        return sorted(engine for version, engine in self.columns if version == opencv)


def release(opencv: str) -> list[int]:
    """Return the numbers of a release: [5, 0, 0] of 5.0.0.93 and of 5.0.0-dev."""
    return version_numbers(opencv)[:RELEASE]


def read_records(checkout: Path = CHECKOUT) -> Records:
    """Read the records of operators and of torchvision's models. Raises InputError for a damaged
    one; a missing one is logged."""
    operators, zoo, columns = None, {}, set()
    if (path := checkout / OPERATORS).exists():
        operators = read_record(path)
        columns |= {(column.opencv, column.engine) for column in operators.columns}
    else:
        log(f"{path}: no such file; nothing is known of single operators")
    if (path := checkout / ZOO).exists():
        zoo, found = read_json(path, _mended_models)
        columns |= found
    return Records(operators, zoo, frozenset(columns))


def _mended_models(content: dict) -> tuple[dict, set[tuple[str, str]]]:
    """Return the models by rule, version and engine, and all versions with their engines, of
    metrics/coverage.json."""
    mended, columns = defaultdict(list), set()
    for name, model in content["models"].items():
        for text, cell in model["cells"].items():
            combination = Combination.parse(text)
            columns.add((combination.opencv, combination.engine))
            for rule in (cell.get("mended") or {}).get("rules", ()):
                models = mended[rule, combination.opencv, combination.engine]
                if name not in models:
                    models.append(name)
    return dict(mended), columns


def known_faults(
    model: ModelProto,
    steps: Sequence[Step],
    columns: Iterable[tuple[str, str]],
    records: Records,
) -> list[Known]:
    """Return what is known of a model in each column, a version of OpenCV and an engine: first
    where rules of mending fit, as `steps` says, then what causes affect, then the operators whose
    tests fail, those whose tests all fail first."""
    nodes, causes = _nodes_by_operator(model.graph), _nodes_by_cause(model)
    found = []
    for opencv, engine in columns:
        found += _by_rules(model, steps, opencv, engine, records)
        if records.operators:
            found += _by_causes(causes, opencv, engine, records.operators)
            failing = _by_tests(nodes, opencv, engine, records.operators)
            found += sorted(failing, key=lambda one: not one.certain)
    return found


def _by_rules(
    model: ModelProto, steps: Sequence[Step], opencv: str, engine: str, records: Records
) -> Iterable[Known]:
    computed_by = producers(model)
    for step in steps:
        rule, fault = step.rule, step.rule.steers_round
        if not fault.is_in(".".join(map(str, release(opencv))), engine):
            continue
        places = [computed_by[place] for place in step.places if place in computed_by]
        models = records.zoo.get((rule.name, opencv, engine), ())
        seen = f", as in {names_text(models)}" if models else ""
        operators = Counter(node.op_type for node in places)
        yield Known(
            opencv,
            engine,
            " or ".join(operators),
            tuple(map(node_name, places)),
            fault.what + seen,
            "rule",
            rule=rule.name,
        )


def _by_causes(
    nodes: Mapping[str, Sequence[ir.Node]], opencv: str, engine: str, record: OperatorRecord
) -> Iterable[Known]:
    for cause in (one for one in CAUSES if not one.is_rare):
        findings = [
            finding
            for finding in record.wrong(cause.operator, opencv, engine)
            if finding.cause == cause.key
        ]
        if not findings or cause.key not in nodes:
            continue
        verdicts = Counter(finding.verdict for finding in findings)
        counts = ", ".join(f"{count} {verdict}" for verdict, count in verdicts.most_common())
        yield Known(
            opencv,
            engine,
            " or ".join(dict.fromkeys(node.op_type for node in nodes[cause.key])),
            tuple(node.name or node.outputs[0].name for node in nodes[cause.key]),
            f"{cause.text} (tests: {counts})",
            "cause",
            certain=len(findings) >= record.causes[cause.key].cases,
        )


def _by_tests(
    nodes: Mapping[str, Sequence[str]], opencv: str, engine: str, record: OperatorRecord
) -> Iterable[Known]:
    """Yield the operators with tests that fail for no known cause. A cause says by itself which
    nodes it affects. Where some tests are right, a refusal of others counts for nothing: most are
    of types that images do not have, and the run of the file shows a refusal."""
    keys = {cause.key for cause in CAUSES}
    for operator, names in nodes.items():
        wrong = record.wrong(operator, opencv, engine)
        right = record.counts[operator][Column(engine, opencv)]["right"] if wrong else 0
        least = LEAST_SHARE * (right + len(wrong))
        findings = [
            finding
            for finding in wrong
            if finding.cause not in keys and not (right and finding.verdict == "refused")
        ]
        if not findings or len(findings) < least:
            continue
        fails = f"some of its tests fail, {right} do not" if right else "its tests fail"
        text = f"{fails}: {_findings_text(findings)}"
        where = (opencv, engine, operator, tuple(names))
        yield Known(*where, text, "operators", certain=not right)


def _findings_text(findings: Sequence[Finding]) -> str:
    by_verdict = defaultdict(list)
    for finding in findings:
        by_verdict[finding.verdict].append(finding.case)
    return "; ".join(
        f"{len(cases)} {verdict} ({names_text(list(dict.fromkeys(cases)))})"
        for verdict, cases in by_verdict.items()
    )


def _nodes_by_operator(graph: GraphProto) -> dict[str, list[str]]:
    """Map each of ONNX's own operators to the names of its nodes, those of subgraphs included."""
    found = defaultdict(list)
    for node in _all_nodes(graph):
        if node.domain in DOMAIN:
            found[node.op_type].append(node_name(node))
    return found


def _nodes_by_cause(model: ModelProto) -> dict[str, list[ir.Node]]:
    found = defaultdict(list)
    for node, cause in affected(model):
        found[cause.key].append(node)
    return found


def _all_nodes(graph: GraphProto) -> Iterable[NodeProto]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from _all_nodes(inner)


def names_text(names: Sequence[str]) -> str:
    """List the first names, and count the others."""
    more = f" and {len(names) - MOST} more" if len(names) > MOST else ""
    return ", ".join(map(shown, names[:MOST])) + more
