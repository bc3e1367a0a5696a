"""The verdict: what fails, whose it is, what passes, and how the stage ends."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.checkout import ROOT, stage_process
from helpers.params import changed, write_params
from helpers.refusals import refused

from parity.core.files import write_json
from parity.core.params import load_params
from parity.evaluation.verdict import (
    ENGINE,
    EXPORT,
    SUM,
    Limits,
    Verdict,
    gate_limits,
    judge,
    verdict_of,
)
from stages import gate

CLS, SEG = "squeezenet1_1", "fcn_resnet50"
LIMITS, SPREAD = Limits(rel=1e-4, agreement=99.9, accuracy_loss=0.1), 0.01
EQUAL = {"l1": 0, "linf": 1e-5, "rel": 1e-6, "agreement": 100.0, "ties": 0.0, "spread": 0.5}
REFUSED = {"kind": "refused", "message": "OpenCV 5.0.0: (-215) unknown op Einsum"}
STABLE = {
    "images": 2,
    "method": "MALLOC_PERTURB_",
    "stable": True,
    "runs": [{"name": "again", "same": True, "rel": 0.0, "failure": None}],
}


def row(**changes) -> dict:
    """A faithful model's row; `accuracy`, `parity` and `nonfinite` change only as far as named."""
    content = {
        "model": CLS,
        "task": "classification",
        "images": 100,
        "metric": "acc@1",
        "reference": "pytorch",
        "accuracy": {"pytorch": 90.0, "onnxruntime": 90.0, "opencv": 90.0},
        "parity": {pair: EQUAL for pair in (SUM, EXPORT, ENGINE)},
        "nonfinite": {"pytorch": 0, "onnxruntime": 0, "opencv": 0},
        "failures": {},
        "stability": STABLE,
    }
    for key in ("accuracy", "nonfinite"):
        content[key] = content[key] | changes.pop(key, {})
    for pair, figures in changes.pop("parity", {}).items():
        content["parity"] = content["parity"] | {pair: EQUAL | figures}
    return content | changes


def without(backend: str, kind: str = "refused", message: str = REFUSED["message"]) -> dict:
    """The row of a model with which a backend failed."""
    content = row(failures={backend: {"kind": kind, "message": message}})
    for key in ("accuracy", "nonfinite"):
        content[key] = {name: value for name, value in content[key].items() if name != backend}
    content["parity"] = {
        pair: figures for pair, figures in content["parity"].items() if backend not in pair
    }
    return content


def onnx_only(**engine) -> dict:
    """The row of a model that is an ONNX file from the start."""
    content = row() | {"reference": "onnxruntime", "parity": {ENGINE: EQUAL | engine}}
    for key in ("accuracy", "nonfinite"):
        del content[key]["pytorch"]
    return content


def of(content: dict) -> Verdict:
    return judge(content, LIMITS, SPREAD)


def owners(content: dict) -> list[tuple[str, str, str]]:
    """Owner, subject and figure of each failure; the verdict must be FAIL for exactly these."""
    verdict = of(content)
    assert verdict.verdict == ("FAIL" if verdict.failures else "pass")
    return [(one.owner, one.subject, one.figure) for one in verdict.failures]


def only_words(content: dict) -> str:
    (failure,) = of(content).failures
    return failure.words


# Whose it is


def test_a_faithful_model_passes_with_its_figures():
    verdict = of(row(parity={SUM: {"rel": 3e-6}}))
    assert (verdict.verdict, verdict.owner) == ("pass", "-")
    assert (verdict.rel, verdict.agreement, verdict.accuracy_loss) == (3e-6, 100, 0)
    assert not verdict.failures and not verdict.ties and verdict.vacuous is None


@pytest.mark.parametrize("bad", [{"rel": 1.1e-4}, {"agreement": 99.8}], ids=["rel", "agreement"])
@pytest.mark.parametrize(("pair", "owner"), [(EXPORT, "export"), (ENGINE, "engine")])
def test_the_pair_that_deviates_owns_the_sums_deviation(pair, owner, bad):
    (figure,) = bad
    assert owners(row(parity={pair: bad, SUM: bad})) == [(owner, pair, figure)]


def test_both_steps_own_what_both_break():
    bad = {"rel": 1.0}
    found = owners(row(parity={pair: bad for pair in (EXPORT, ENGINE, SUM)}))
    assert found == [("export", EXPORT, "rel"), ("engine", ENGINE, "rel")]
    assert of(row(parity={pair: bad for pair in (EXPORT, ENGINE)})).owner == "export, engine"


@pytest.mark.parametrize("bad", [{"rel": 1.1e-4}, {"agreement": 99.8}], ids=["rel", "agreement"])
def test_steps_that_are_within_the_limit_but_not_together_own_it_together(bad):
    (figure,) = bad
    assert owners(row(parity={SUM: bad})) == [("export and engine", SUM, figure)]


def test_without_onnx_runtime_the_owner_of_a_deviation_cannot_be_told():
    content = without("onnxruntime")
    content["parity"] = {SUM: EQUAL | {"rel": 1.0}}
    assert ("export or engine", SUM, "rel") in owners(content)


@pytest.mark.parametrize(
    "figures",
    [{"rel": 1e-4}, {"agreement": 99.9}, {"agreement": 99.8, "ties": 0.1}],
    ids=["rel", "agreement", "ties"],
)
def test_a_figure_at_its_limit_passes(figures):
    assert owners(row(parity={pair: figures for pair in (EXPORT, ENGINE, SUM)})) == []


def test_the_line_of_a_failure_has_pair_figure_and_limit():
    assert only_words(row(parity={ENGINE: {"rel": 0.52}})) == (
        "OpenCV against ONNX Runtime: rel 0.52, limit 0.0001"
    )
    assert only_words(row(parity={EXPORT: {"agreement": 97.5}})) == (
        "ONNX Runtime against PyTorch: agreement 97.5 %, limit 99.9 %"
    )


def test_an_onnx_file_has_an_engine_alone():
    assert owners(onnx_only()) == []
    assert owners(onnx_only(rel=1.0)) == [("engine", ENGINE, "rel")]
    content = onnx_only()
    content["accuracy"]["opencv"] = 80.0
    assert owners(content) == [("engine", ENGINE, "accuracy_loss")]
    content = onnx_only() | {"nonfinite": {"onnxruntime": 3, "opencv": 3}}
    assert owners(content) == [("model", "onnxruntime", "nonfinite")]


# Accuracy


@pytest.mark.parametrize(
    ("accuracy", "expected"),
    [
        ({"onnxruntime": 89.0, "opencv": 89.0}, [("export", EXPORT)]),
        ({"opencv": 89.0}, [("engine", ENGINE)]),
        ({"onnxruntime": 89.0, "opencv": 88.0}, [("export", EXPORT), ("engine", ENGINE)]),
        ({"onnxruntime": 89.92, "opencv": 89.84}, [("export and engine", SUM)]),
        ({"onnxruntime": 89.0}, [("export", EXPORT)]),
        ({"onnxruntime": 91.0}, []),
        ({"opencv": 95.0}, []),
        ({"opencv": 89.9}, []),
        ({"pytorch": None, "onnxruntime": None, "opencv": None}, []),
    ],
    ids=[
        "export",
        "engine",
        "both",
        "together",
        "regained",
        "gained and lost",
        "gain",
        "at the limit",
        "no truth",
    ],
)
def test_lost_accuracy_is_owned_by_the_step_that_lost_it(accuracy, expected):
    found = owners(row(accuracy=accuracy))
    assert found == [(owner, pair, "accuracy_loss") for owner, pair in expected]


def test_lost_accuracy_is_told_in_points_of_its_metric():
    assert only_words(row(accuracy={"opencv": 88.5})) == (
        "OpenCV against ONNX Runtime: acc@1 88.50 % after 90.00 %, a loss of 1.5 points, limit 0.1"
    )


# Ties


def test_ties_count_as_the_same_and_are_told():
    ties = {"agreement": 99.0, "ties": 1.0}
    verdict = of(row(parity={ENGINE: ties, SUM: ties}))
    assert (verdict.verdict, verdict.agreement) == ("pass", 100)
    assert [(one.owner, one.subject) for one in verdict.ties] == [("noise", SUM), ("noise", ENGINE)]
    assert verdict.ties[0].words == (
        "OpenCV against PyTorch: agreement 99 %, limit 99.9 %, but 1 % are ties"
    )


def test_flips_of_a_broken_model_are_no_ties():
    broken = {"rel": 0.5, "agreement": 20.0, "ties": 79.0}
    verdict = of(row(parity={ENGINE: broken, SUM: broken}))
    assert verdict.agreement == 20 and not verdict.ties
    words = [one.words for one in verdict.failures if one.figure == "agreement"]
    assert words == ["OpenCV against ONNX Runtime: agreement 20 %, limit 99.9 %"]


def test_too_few_ties_do_not_save_a_model():
    content = row(parity={ENGINE: {"agreement": 99.0, "ties": 0.5}})
    assert owners(content) == [("engine", ENGINE, "agreement")]
    assert only_words(content).endswith(
        "99.5 %, limit 99.9 % (0.5 % that are ties counted as the same)"
    )
    assert not of(content).ties


# No numbers


@pytest.mark.parametrize(
    ("nonfinite", "expected"),
    [
        ({"pytorch": 2, "onnxruntime": 2, "opencv": 2}, [("model", "pytorch")]),
        ({"onnxruntime": 2, "opencv": 2}, [("export", "onnxruntime")]),
        ({"opencv": 2}, [("engine", "opencv")]),
        ({"pytorch": 1, "opencv": 9}, [("model", "pytorch"), ("engine", "opencv")]),
    ],
)
def test_nan_belongs_to_the_first_that_has_it(nonfinite, expected):
    """And not to those that follow, of which no figure is any."""
    bad = {"l1": None, "linf": None, "rel": None, "agreement": 98.0, "spread": None}
    content = row(nonfinite=nonfinite, parity={pair: bad for pair in (SUM, EXPORT, ENGINE)})
    for pair in (SUM, EXPORT, ENGINE):
        if not any(backend in pair for backend in nonfinite):
            content["parity"][pair] = EQUAL
    assert owners(content) == [(owner, backend, "nonfinite") for owner, backend in expected]
    assert "NaN or infinity in the outputs of" in of(content).failures[0].words


def test_a_figure_that_is_no_number_fails():
    no_number = {"l1": None, "linf": None, "rel": None}
    content = row(parity={ENGINE: no_number})
    assert owners(content) == [("engine", ENGINE, "rel")]
    assert "rel is no number" in only_words(content)
    assert owners(row(parity={EXPORT: {"agreement": None}})) == [("export", EXPORT, "agreement")]


def test_logits_where_the_reference_has_none_but_0_fail():
    content = row(parity={ENGINE: {"linf": 3.0, "rel": None, "spread": 0.0}})
    assert owners(content) == [("engine", ENGINE, "rel")]
    assert "all logits of ONNX Runtime are 0, those of OpenCV up to 3" in only_words(content)


# No answer, or another each time


@pytest.mark.parametrize("kind", ["refused", "error", "crashed", "timeout", "shape"])
@pytest.mark.parametrize(("backend", "owner"), [("opencv", "engine"), ("onnxruntime", "export")])
def test_a_failed_backend_fails_with_its_message(backend, owner, kind):
    content = without(backend, kind, "ended by\nSIGSEGV")
    assert owners(content) == [(owner, backend, kind)]
    assert only_words(content).endswith(": ended by SIGSEGV")
    assert (of(content).rel is None) == (backend == "opencv")


def test_a_failed_reference_leaves_nothing_to_compare():
    content = onnx_only() | {"parity": {}, "accuracy": {}, "nonfinite": {}}
    content["failures"] = {"onnxruntime": REFUSED, "opencv": REFUSED}
    content["stability"] = STABLE | {"stable": None, "runs": []}
    found = owners(content)
    assert found == [("model", "onnxruntime", "refused"), ("engine", "opencv", "refused")]


def test_an_unstable_engine_is_told_by_its_runs():
    crashed = {"kind": "crashed", "message": "ended by SIGABRT"}
    runs = [
        {"name": "again", "same": True, "rel": 0.0, "failure": None},
        {"name": "MALLOC_PERTURB_=1", "same": False, "rel": 1e9, "failure": None},
        {"name": "MALLOC_PERTURB_=165", "same": False, "rel": None, "failure": crashed},
        {"name": "MALLOC_PERTURB_=85", "same": False, "rel": None, "failure": None},
    ]
    content = row(stability=STABLE | {"stable": False, "runs": runs})
    assert owners(content) == [("engine", "opencv", "unstable")]
    words = only_words(content)
    assert "MALLOC_PERTURB_=1 differs (rel 1.0e+09)" in words and "again" not in words
    assert "MALLOC_PERTURB_=165 failed (crashed: ended by SIGABRT)" in words
    assert "MALLOC_PERTURB_=85 differs (rel not a number)" in words


# Nothing that could fail

ALIKE = {"spread": 0.009}
SINGLE = {"spread": None}
ZERO = {"linf": 0.0, "rel": None, "spread": 0.0}
UNTESTED = {"stability": STABLE | {"stable": None, "runs": []}}


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (row(parity={pair: ALIKE for pair in (SUM, EXPORT, ENGINE)}), "differ between images by"),
        (row(parity={pair: SINGLE for pair in (SUM, EXPORT, ENGINE)}), "one image alone"),
        (
            row(parity={pair: ZERO for pair in (SUM, EXPORT, ENGINE)}),
            "all outputs of PyTorch are 0",
        ),
        (onnx_only(**ALIKE), "the outputs of ONNX Runtime differ"),
        (row(**UNTESTED), "OpenCV ended in no run"),
        (row() | {"parity": {}}, "no two backends"),
    ],
    ids=["alike", "single image", "zero", "onnx only", "stability", "no pair"],
)
def test_a_comparison_that_could_not_fail_is_vacuous(content, why):
    verdict = of(content)
    assert (verdict.verdict, verdict.owner) == ("vacuous", "-")
    assert why in verdict.vacuous


def test_what_fails_is_not_called_vacuous():
    verdict = of(row(parity={ENGINE: ALIKE | {"rel": 1.0}, SUM: ALIKE | {"rel": 1.0}}))
    assert (verdict.verdict, verdict.vacuous) == ("FAIL", None)


def test_the_least_spread_is_enough():
    assert of(row(parity={SUM: {"spread": SPREAD}})).verdict == "pass"


# Limits


def test_an_override_changes_one_limit_of_one_model(project):
    models = {
        CLS: changed({})["models"][CLS],
        SEG: {"task": "segmentation", "preprocess": "voc", "weights": "random"},
    }
    write_params(
        project,
        {
            "models": models,
            "gate.limits.segmentation.agreement": 99.5,
            "gate.overrides": {CLS: {"rel": 0.002}},
        },
    )
    params = load_params()
    assert gate_limits(params, CLS) == Limits(rel=0.002, agreement=99.9, accuracy_loss=0.1)
    assert gate_limits(params, SEG) == Limits(rel=1e-4, agreement=99.5, accuracy_loss=0.1)
    bad = row(parity={ENGINE: {"rel": 0.001}})
    assert judge(bad, gate_limits(params, CLS), SPREAD).verdict == "pass"


@pytest.mark.parametrize(
    ("key", "value", "parts"),
    [
        ("gate.overrides", {"squeezenet": {"rel": 1e-3}}, ("overrides.squeezenet: no such", CLS)),
        ("gate.overrides", {CLS: {"rell": 1e-3}}, (f"overrides.{CLS}.rell: unknown", "mean rel")),
        ("gate.overrides", {CLS: {"agreement": 101}}, (f"{CLS}.agreement: found 101", "100")),
        ("gate.limits.classification.rel", -1, ("gate.limits.classification.rel: found -1",)),
        ("gate.spreat", 1, ("gate.spreat: unknown key",)),
        ("models.gate", changed({})["models"][CLS], ("models.gate: this name is taken",)),
        ("models.coverage", changed({})["models"][CLS], ("models.coverage: this name is taken",)),
    ],
)
def test_a_wrong_limit_is_refused_in_one_line(project, key, value, parts):
    write_params(project, {key: value})
    with refused("params.yaml: ", *parts):
        load_params()


# The stage


def write_rows(*contents: dict) -> None:
    models = {}
    for content in contents:
        write_json(gate.plot_data_folder(content["model"]) / "row.json", content)
        models[content["model"]] = changed({})["models"][CLS]
    write_params(Path(), {"models": models})


def code_of(*argv: str) -> int:
    try:
        gate.main(list(argv))
    except SystemExit as end:
        return end.code
    return 0


def test_all_that_passes_ends_with_0(project, capsys):
    write_rows(row())
    assert code_of() == 0
    printed = capsys.readouterr().out
    assert printed.startswith("| model ")
    assert f"\n| {CLS} | pass " in printed
    assert printed.endswith("1 of 1 models pass\n")
    content = json.loads((project / "metrics/gate.json").read_text())
    assert content["verdict"] == content["models"][CLS]["verdict"] == "pass"


def test_what_does_not_pass_is_told_below_the_table_and_ends_with_1(project, capsys):
    tie = {"agreement": 99.0, "ties": 1.0}
    vacuous = {pair: ALIKE for pair in (SUM, EXPORT, ENGINE)}
    write_rows(
        row(model="good"),
        row(model="broken", parity={ENGINE: {"rel": 0.5}}, nonfinite={"pytorch": 0}),
        row(model="dead", parity=vacuous),
        row(model="tied", parity={SUM: tie, ENGINE: tie}),
        without("opencv") | {"model": "unread"},
    )
    assert code_of() == 1
    printed = capsys.readouterr().out
    cells = [line.split("|")[1:4] for line in printed.splitlines() if line.startswith("| ")][1:]
    assert [[cell.strip() for cell in line] for line in cells if "-" not in line[0]] == [
        ["good", "pass", "-"],
        ["broken", "FAIL", "engine"],
        ["dead", "vacuous", "-"],
        ["tied", "pass", "-"],
        ["unread", "FAIL", "engine"],
    ]
    assert (
        "broken: FAIL: OpenCV against ONNX Runtime: rel 0.5, limit 0.0001; owner: the engine,"
        in printed
    )
    assert f"unread: FAIL: OpenCV failed (refused): {REFUSED['message']}; owner" in printed
    assert "dead: vacuous, not passed: the outputs of PyTorch differ" in printed
    assert "tied: ties: OpenCV against PyTorch: agreement 99 %" in printed
    assert printed.endswith("2 of 5 models pass; 2 fail: broken, unread; 1 vacuous: dead\n")
    content = json.loads((project / "metrics/gate.json").read_text())
    assert content["verdict"] == "FAIL"
    assert content["models"]["broken"]["failures"][0]["found"] == 0.5

    assert code_of("--print") == 1
    assert capsys.readouterr().out == printed


def test_vacuous_alone_is_not_passed_either(project, capsys):
    write_rows(row(parity={pair: SINGLE for pair in (SUM, EXPORT, ENGINE)}))
    assert code_of() == 1
    assert capsys.readouterr().out.endswith(f"0 of 1 models pass; 1 vacuous: {CLS}\n")
    assert json.loads((project / "metrics/gate.json").read_text())["verdict"] == "vacuous"


def test_verdicts_come_back_from_their_file_as_they_were():
    verdict = of(row(parity={ENGINE: {"rel": 0.5}, SUM: {"agreement": 99.0, "ties": 1.0}}))
    assert verdict.failures and verdict.ties
    assert verdict_of(json.loads(json.dumps(verdict.content()))) == verdict


def test_print_computes_nothing_and_needs_no_numpy(project):
    write_rows(row())
    gate.main([])
    (project / "params.yaml").unlink()
    done = "import sys; from stages import gate; gate.main(['--print']); "
    done += "print([name for name in ('numpy', 'torch', 'cv2') if name in sys.modules])"
    found = subprocess.run(
        [sys.executable, "-c", done], env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert found.stdout.splitlines()[-2:] == ["1 of 1 models pass", "[]"], found.stderr


def test_without_a_verdict_print_says_what_writes_it(project):
    process = stage_process("gate", "--print", cwd=project)
    _, told = process.communicate()
    assert (process.returncode, told.count("\n")) == (2, 1)
    assert "metrics/gate.json: no such file; `make`" in told
