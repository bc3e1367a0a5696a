"""A first verdict for a new model: `make QUICK=1`, with MODEL=NAME for one model alone.

It is the pipeline itself on few images, without times and pictures, in a folder of its own with its
own params.yaml, dvc.yaml and DVC repository. The results of `make` stay as they are. What it shows
and records says that it is of a quick run. Exit codes are those of `make`.
"""

import argparse
import json
import os
import shutil
import sys
from pathlib import Path

from ruamel.yaml import YAML

from parity.core.cli import log, run, wait_for
from parity.core.files import locked, write_text
from parity.core.fingerprints import stamp
from parity.core.params import (
    OFFLINE_WEIGHTS,
    PARAMS,
    ModelParams,
    Params,
    count_kept,
    entry,
    load_params,
)
from parity.core.paths import QUICK
from parity.core.plain_yaml import read_yaml
from parity.datasets.downloads import DOWNLOADS, FOLDER

PIPELINE, CONFIG = Path("dvc.yaml"), Path(".dvc/config")
EXACT_IMAGES = 2  # of a quick run, at most: float64 is slow
LEFT_OUT = ("benchmark", "plot", "details", "vega", "report")
MARKED = ("results", "summary", "gate")  # the stages that know of quick runs
NO_GIT = "[core]\n    no_scm = true\n"  # Git ignores the folder
# What `make` runs.
COMMANDS = (["tools.repro"], ["tools.prune"], ["stages.summary", "--print"])
VERDICT = ["stages.gate", "--check"]


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="tools.quick", description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", help="an entry of `models`; default: all of them")
    model = parser.parse_args(argv).model

    params = load_params()
    if model:
        entry(params, "models", model)
    names = [model] if model else list(params.models)
    (QUICK / ".dvc/tmp").mkdir(parents=True, exist_ok=True)
    with locked(QUICK / ".dvc/tmp", "another `make QUICK=1` is running here; wait until it ends"):
        prepare(params, names)
    log(f"quick run of {', '.join(names)} in {QUICK}")

    paths = (str(Path.cwd()), os.environ.get("PYTHONPATH"))
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    os.chdir(QUICK)
    for command in (*COMMANDS, VERDICT):
        if command is VERDICT:
            print(flush=True)
        if code := wait_for([sys.executable, "-m", *command]):
            sys.exit(code)


def prepare(params: Params, names: list[str]) -> None:
    """Write what makes the folder a pipeline of these models."""
    pipeline = YAML(typ="safe").load(PIPELINE)
    write_text(QUICK / PARAMS, as_yaml(quick_params(read_yaml(PARAMS), params, names)))
    write_text(QUICK / PIPELINE, as_yaml(quick_pipeline(pipeline)))
    shutil.copyfile(CONFIG, QUICK / CONFIG)
    local = QUICK / CONFIG.with_suffix(".local")
    if not local.exists():
        local.write_text(NO_GIT, encoding="utf-8")
    FOLDER.mkdir(parents=True, exist_ok=True)
    downloads = QUICK / FOLDER  # shared: they are large
    if not downloads.is_symlink():
        downloads.parent.mkdir(exist_ok=True)
        downloads.symlink_to(FOLDER.absolute())


def as_yaml(content: dict) -> str:
    """JSON, which is YAML too."""
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def quick_params(raw: dict, params: Params, names: list[str]) -> dict:
    """Return the content of params.yaml for some models alone, with few images of what they need,
    drawn at random: the first of a class folder may be of one class."""
    models = {name: params.models[name] for name in names}
    profiles = {one.preprocess: params.preprocess[one.preprocess] for one in models.values()}
    datasets = {one.dataset: params.datasets[one.dataset] for one in profiles.values()}
    few = params.quick.images
    changes = {
        "models": {name: raw["models"][name] | own_files(one) for name, one in models.items()},
        "preprocess": {name: raw["preprocess"][name] for name in profiles},
        "datasets": {
            name: raw["datasets"][name]
            | dataset_files(raw["datasets"][name])
            | {"limit": count_kept(one.limit, few.of(one.task)), "shuffle": True}
            for name, one in datasets.items()
        },
        "sample": {
            task: {split: min(count, few.of(task)) for split, count in counts.items()}
            for task, counts in raw["sample"].items()
        },
    }
    exact = {task: min(count, EXACT_IMAGES) for task, count in raw["exact"]["images"].items()}
    changes["exact"] = {"images": exact}
    overrides = {name: one for name, one in raw["gate"]["overrides"].items() if name in models}
    return raw | changes | {"gate": raw["gate"] | {"overrides": overrides}}


def own_files(model: ModelParams) -> dict[str, str]:
    """The files of an entry of `models`, as seen from another folder."""
    named = {"weights": model.weights, "onnx": model.onnx}
    return {
        key: from_anywhere(value)
        for key, value in named.items()
        if value and value not in OFFLINE_WEIGHTS
    }


def dataset_files(dataset: dict) -> dict[str, str]:
    """The same for an entry of `datasets`. `classes` is in the folder of the dataset."""
    found = {key: dataset[key] for key in ("split", "train") if dataset[key].endswith(".txt")}
    if dataset["source"] not in ("sample", *DOWNLOADS):
        found["source"] = dataset["source"]
    return {key: from_anywhere(value) for key, value in found.items()}


def from_anywhere(value: str) -> str:
    """Return the absolute path of a file or folder; a value that is none stays as it is."""
    return str(Path(value).absolute()) if stamp(Path(value)) else value


def quick_pipeline(content: dict) -> dict:
    """Return the content of dvc.yaml without some stages, pictures, and what depends on them."""
    missing = set()
    for name in LEFT_OUT:
        stage = content["stages"][name]
        missing |= {path for out in stage.get("do", stage).get("outs", ()) for path in out}
    stages = {}
    for name, stage in content["stages"].items():
        if name in LEFT_OUT:
            continue
        body = {key: value for key, value in stage.get("do", stage).items() if key != "plots"}
        if name in MARKED:
            body["cmd"] += " --quick"
        if "deps" in body:
            body["deps"] = [dep for dep in body["deps"] if dep not in missing]
        stages[name] = {"foreach": stage["foreach"], "do": body} if "foreach" in stage else body
    return {"stages": stages}


if __name__ == "__main__":
    run(main)
