"""What `make locate` and `make reproducer` left about a model."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from parity.core.files import read_json_if_whole, reading
from parity.core.paths import finding_files, reproducer_folder
from parity.report.graph_drawing import draw_graph

WORKAROUNDS = re.compile(r"^### Workarounds\n(.*)", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Findings:
    """The fault that was located, with its points by depth, and what the bug report says.

    `fault` is that of `fault.fault_json`, empty where nothing was located. `graph` is the reduced
    graph drawn, `workarounds` the report's section as lines.
    """

    fault: dict
    points: Sequence[dict]
    title: str
    graph: Markup | None
    workarounds: str
    folder: Path

    @property
    def node(self) -> str | None:
        """The node to blame, and its operator; None where it is not known."""
        found = self.fault.get("node")
        return f"{found} ({self.fault['op_type']})" if found and self.fault["op_type"] else None


def read_findings(model: str) -> Findings | None:
    """Read what there is; None where there is nothing."""
    located, report, graph = finding_files(model)
    found = read_json_if_whole(located) if located.exists() else None
    if found is None and not report.exists():
        return None
    text = ""
    if report.exists():
        with reading(report):
            text = report.read_text(encoding="utf-8")
    tried = WORKAROUNDS.search(text)
    return Findings(
        fault=(found or {}).get("fault", {}),
        points=(found or {}).get("points", ()),
        title=text.partition("\n")[0].removeprefix("# "),
        graph=draw_graph(graph) if graph.exists() else None,
        workarounds=tried[1].strip() if tried else "",
        folder=reproducer_folder(model),
    )
