"""The report of a run: what it says, and that no text of others' becomes markup."""

import json
import re

from helpers.markup import check_is_own
from helpers.report import ALL, HOSTILE, ROUNDS

from parity.backends.contract import LABELS
from parity.core.params import load_params
from parity.report.html import LONGEST_NAME, readable
from parity.report.page import write_report

POLICY = re.compile(r'http-equiv="Content-Security-Policy" content="([^"]*)"')


def test_the_answer_comes_first_and_names_the_node_and_the_owner(report):
    title = re.search(r"<h1>.*?</span> (.*)</h1>", report)[1]
    assert title == (
        "2 of 5 models give PyTorch&#39;s answers in OpenCV. refused (engine) and"
        " mobilenet_v3_small (engine, from pool (AveragePool) on) do not. vacuous shows nothing."
    )


def test_models_that_fail_come_first(report):
    sections = re.findall(r'<details id="(\w+)" class="model"( open)?>', report)
    assert [name for name, _ in sections] == [
        *("refused", "mobilenet_v3_small", "vacuous", "net", "masks")
    ]
    assert [bool(is_open) for _, is_open in sections] == [True, True, True, False, False]


def test_no_text_of_others_becomes_an_element_or_an_attribute(report):
    charts = 3  # parity, times, and the error by depth
    text = "".join(check_is_own(report, scripts=3 + charts).texts)
    for hostile in HOSTILE:
        assert readable(hostile)[: LONGEST_NAME - 1] in text


def test_what_turns_or_hides_text_is_written_as_an_escape(report):
    """A bidirectional override would turn the words behind it, beyond its own element too."""
    text = "".join(check_is_own(report, scripts=6).texts)
    assert "\\u202egnp.exe" in text and "\\u2028\\u2029window" in text
    assert readable("a\nb\t\x00\ud800") == "a\nb\\t\\x00\\ud800"
    assert readable("\u0645\u06cc\u200c\u062e") == "\u0645\u06cc\u200c\u062e"


def test_the_charts_are_json_that_no_script_can_end(report):
    specs = re.findall(r'<script type="application/json">(.*?)</script>', report, re.DOTALL)
    assert len(specs) == 3
    for spec in specs:
        assert not {"<", ">", "&", "\u2028", "\u2029"} & {*spec}
        json.loads(spec)
    assert ALL in json.dumps(json.loads(specs[-1]), ensure_ascii=False).replace('\\"', '"')


def test_the_chart_of_times_has_every_round_of_every_model(report):
    specs = re.findall(r'<script type="application/json">(.*?)</script>', report, re.DOTALL)
    (values,) = [
        layer["data"]["values"]
        for layer in json.loads(specs[1])["layer"]
        if layer["mark"]["type"] == "boxplot"
    ]
    found = {}
    for one in values:
        found.setdefault(one["model"], {}).setdefault(one["kind"], []).append(one["value"])
    expected = {LABELS[backend]: list(times) for backend, times in ROUNDS.items()}
    assert found.pop("refused") == {key: one for key, one in expected.items() if key != "OpenCV"}
    assert found == dict.fromkeys(("mobilenet_v3_small", "vacuous", "net", "masks"), expected)


def test_the_browser_may_run_the_pages_own_scripts_and_load_nothing(report):
    policy = POLICY.search(report)[1]
    assert policy.startswith("default-src &#39;none&#39;; img-src data:; style-src")
    assert len(re.findall("sha256-", policy)) == 3 and "unsafe-eval" not in policy


def test_a_drawing_stays_for_readers_without_javascript(report):
    assert len(re.findall(r'role="img" aria-label="[^"]+"><svg', report)) == 3


def test_the_fault_has_its_graph_and_what_was_tried(report):
    assert report.count('<g class="node">') > 5
    assert "Tried as a workaround" in report and "make locate MODEL=refused" in report


def test_a_model_has_a_row_for_each_device_that_sent_a_report(report):
    assert report.count("<h4>On devices</h4>") == 1
    section = report[report.index("<h4>On devices</h4>") :]
    table = section[: section.index("</table>")]
    assert table.count("<td>pass</td>") == table.count('<th scope="row">') == len(HOSTILE)


def test_a_second_report_has_the_same_bytes(report, written, monkeypatch):
    monkeypatch.chdir(written.parents[1])
    write_report(load_params())
    assert written.read_text(encoding="utf-8") == report
