"""dvc.yaml: every stage lists what it uses, no less and no more. No stage is run here."""

import re
import subprocess
from pathlib import Path

import networkx
import pytest
from dvc.repo import Repo
from helpers.checkout import ROOT
from helpers.dvc_runs import TEMPLATES, copy_working_tree, stage_params, without_git
from ruamel.yaml import YAML

from parity.core.params import OWN_SETTINGS

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:dvc")

MODELS = YAML(typ="safe", pure=True).load(ROOT / "params.yaml")["models"]
BACKENDS = ("pytorch", "onnxruntime", "opencv")

every_stage = pytest.mark.parametrize("name", TEMPLATES)


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    """DVC's own view of the pipeline: templates resolved, entries of `foreach` one by one."""
    root = tmp_path_factory.mktemp("clone")
    copy_working_tree(root)
    with Repo(str(root)) as repo:
        yield repo.index


def template(name: str) -> dict:
    """A stage as dvc.yaml has it."""
    return TEMPLATES[name].get("do", TEMPLATES[name])


def of_git(*command: str, cwd: Path) -> bool:
    return not subprocess.run(["git", *command], cwd=cwd, env=without_git()).returncode


@every_stage
def test_a_stage_runs_the_script_of_its_name(name):
    entry = " ${key}" if "foreach" in TEMPLATES[name] else ""
    assert template(name)["cmd"] == f"python -m stages.{name}{entry}"
    assert (ROOT / "stages" / f"{name}.py").is_file()


@every_stage
def test_a_stage_depends_on_its_fingerprint_and_on_no_source_file(name):
    deps = template(name).get("deps", [])
    assert not [dep for dep in deps if dep.endswith(".py")]
    of_stages = [dep for dep in deps if re.fullmatch(r"data/fingerprints/\w+\.json", dep)]
    expected = [] if name == "fingerprints" else [f"data/fingerprints/{name}.json"]
    is_of_machine = name in ("benchmark", "stability", "summary", "gate", "report")
    expected += ["data/fingerprints/machine.json"] if is_of_machine else []
    expected += ["data/fingerprints/findings.json"] if name == "report" else []
    assert sorted(of_stages) == sorted(expected)


@pytest.mark.parametrize(("name", "folder"), [("fetch", "datasets"), ("weights", "models")])
def test_what_reads_files_outside_of_the_pipeline_depends_on_their_fingerprint(name, folder):
    assert f"data/fingerprints/{folder}/${{key}}.json" in template(name)["deps"]


def test_every_stage_follows_from_the_check_of_params_yaml(index):
    """Also where `dvc repro` names a single stage: DVC hands the names of entries to a shell."""
    check = next(stage for stage in index.stages if stage.name == "check_params")
    for stage in index.stages:
        if stage.name not in ("check_params", "fingerprints"):
            assert check in networkx.descendants(index.graph, stage), stage.name


@pytest.mark.parametrize("name", ["export_onnx", "infer_pytorch", "infer_exact", "benchmark"])
def test_what_builds_a_network_reruns_when_the_code_of_a_factory_changes(name):
    """Its weights may be the same; source.json holds the stamps of the code."""
    assert "models/${key}/source.json" in template(name)["deps"]


def test_every_dependency_is_a_file_of_the_repository_or_made_by_another_stage(index):
    made = [Path(out.def_path) for out in index.outs]
    for stage in index.stages:
        for path in (Path(dep.def_path) for dep in stage.deps):
            if str(path) != "params.yaml":
                related = [
                    out for out in made if path in (out, *out.parents) or out in path.parents
                ]
                assert related, f"{stage.name}: {path}"


def test_every_listed_param_is_in_params_yaml(index):
    params = YAML(typ="safe", pure=True).load(ROOT / "params.yaml")
    for stage in index.stages:
        for key in stage_params(stage):
            value = params
            for part in key.split("."):
                assert part in value, f"{stage.name}: {key}"
                value = value[part]


def test_the_settings_of_a_model_follow_from_its_entry_and_the_sections_that_it_may_override():
    mending = ["stability.perturb", "exact.images"]
    assert template("settings")["params"] == ["models", *OWN_SETTINGS, *mending]


def test_git_ignores_what_dvc_holds_and_nothing_else(index):
    root = Path(index.repo.root_dir)
    for out in index.outs:
        ignored = of_git("check-ignore", "--quiet", out.def_path, cwd=root)
        assert ignored == out.use_cache, f"{out.stage.name}: {out.def_path}"


@pytest.mark.parametrize("model", MODELS)
def test_a_model_is_nothing_to_the_stages_of_another(index, model):
    """No dependency, param or output of one model's stage names another model."""
    for stage in index.stages:
        if stage.name.endswith(f"@{model}"):
            names = [item.def_path for item in (*stage.deps, *stage.outs)] + stage_params(stage)
            parts = {part for name in names for part in re.split(r"[/.]", name)}
            assert parts & MODELS.keys() == {model}, stage.name


@pytest.mark.parametrize("model", MODELS)
def test_the_files_of_a_model_are_the_contracts(index, model):
    made = {out.def_path for out in index.outs}
    assert made >= {
        f"models/{model}/weights.pth",
        f"models/{model}/model.onnx",
        *(f"data/predictions/{model}/{backend}" for backend in (*BACKENDS, "exact")),
        f"metrics/{model}.json",
        f"metrics/stability/{model}.json",
        f"metrics/benchmark/{model}.json",
    }


def test_the_only_metrics_are_the_few_figures_that_one_compares(index):
    """`dvc metrics diff` and `dvc exp show` have a column for each figure of a metrics file."""
    metrics = {out.def_path for out in index.outs if out.is_metric}
    assert metrics == {"metrics/overview.json"}


def test_the_gate_reads_the_results_of_every_model_and_no_picture(index):
    gate = next(stage for stage in index.stages if stage.name == "gate")
    before = {stage.name for stage in networkx.descendants(index.graph, gate)}
    assert before >= {f"results@{model}" for model in MODELS}
    assert not [name for name in before if name.startswith(("plot", "summary"))]
