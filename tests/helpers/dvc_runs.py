"""The project in a folder of its own, small, and commands that run there as a person types them."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

from dvc.dependency import ParamsDependency
from ruamel.yaml import YAML

from helpers.checkout import ROOT

TEMPLATES = YAML(typ="safe", pure=True).load(ROOT / "dvc.yaml")["stages"]

MADE_BY_THE_PIPELINE = ("data/", "models/", "metrics/", "plots/")


def copy_working_tree(to: Path) -> None:
    """Copy what Git tracks or would track into a new repository, less what the pipeline made."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.check_output(command, cwd=ROOT, env=without_git(), text=True)
    for name in listed.split("\0"):
        made = name == "dvc.lock" or name.startswith(MADE_BY_THE_PIPELINE)
        if not made and (ROOT / name).is_file():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, to / name)
    subprocess.run(["git", "init", "--quiet"], cwd=to, check=True, env=without_git())
    # What DVC remembers of files belongs to this copy alone.
    site_cache = f"[core]\n    site_cache_dir = {to}/.dvc/tmp/site\n"
    (to / ".dvc/config.local").write_text(site_cache, encoding="utf-8")


def without_git() -> dict[str, str]:
    """The environment less Git's variables, which a Git hook sets and which name another tree."""
    return {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}


def is_params(dep) -> bool:
    """Whether a dependency is on keys of params.yaml, not on a file."""
    return isinstance(dep, ParamsDependency)


def stage_params(stage) -> list[str]:
    """The keys of params.yaml that a stage lists."""
    return [key for dep in stage.deps if is_params(dep) for key in dep.params]


CLS, SEG = "squeezenet1_1", "lraspp_mobilenet_v3_large"

SMALL_PIPELINE = {
    "models": {
        CLS: {"task": "classification", "preprocess": "imagenet", "weights": "probe"},
        SEG: {"task": "segmentation", "preprocess": "voc", "weights": "probe"},
    },
    "sample.classification": {"train": 20, "val": 10},
    "sample.segmentation": {"train": 6, "val": 3},
    # OpenCV 5.0.0 refuses to run the dynamo export of this segmentation model.
    "export.exporter": "torchscript",
    "export.opset": 18,
    "pytorch.threads": 1,
    "opencv.engine": "auto",
    "opencv.threads": 0,
    "inference.batch_size.classification": 50,
    "parity.images.segmentation": 2,
    "exact.images.classification": 3,
    "exact.images.segmentation": 1,
    "benchmark.runs": 2,
    "benchmark.warmup": 0,
    "benchmark.resamples": 100,
    # Whatever else this machine does, no time counts as disturbed.
    "benchmark.max_load": 100,
    "benchmark.max_spread": 1e9,
    "plot.gallery_images": 2,
    "plot.dpi": 30,
}

# One thread a process: the networks are small, and the cores are shared with whatever else runs.
ENVIRONMENT = without_git() | {
    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    "DVC_NO_ANALYTICS": "1",
    "OMP_NUM_THREADS": "1",
}


@dataclass(frozen=True)
class Run:
    """How a command ended: stdout and stderr as they came, the stages that DVC ran, in order, less
    `fingerprints`, which it runs every time."""

    code: int
    output: str
    seconds: float

    @property
    def stages(self) -> list[str]:
        ran = re.findall(r"^Running stage '(.+)':", self.output, re.MULTILINE)
        return [name for name in ran if name != "fingerprints"]


def run(root: Path, *command: str, ok: bool = True) -> Run:
    began = time.perf_counter()
    done = subprocess.run(
        command,
        cwd=root,
        env=ENVIRONMENT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert not ok or done.returncode == 0, done.stdout
    return Run(done.returncode, done.stdout, time.perf_counter() - began)


def dvc(root: Path, *args: str, ok: bool = True) -> Run:
    return run(root, sys.executable, "-m", "dvc", *args, ok=ok)


def git(root: Path, *args: str) -> Run:
    return run(root, "git", *args)


def edit(root: Path, changes: dict[str, object]) -> None:
    """Set dotted keys of params.yaml; comments stay."""
    yaml = YAML()
    yaml.width = 4096
    path = root / "params.yaml"
    content = yaml.load(path)
    for dotted, value in changes.items():
        *parents, last = dotted.split(".")
        section = content
        for key in parents:
            section = section[key]
        section[last] = deepcopy(value)  # of several callers: one must not change another's
    yaml.dump(content, path)


def digests(root: Path, *names: str) -> dict[str, str]:
    """The content of every file in some files and folders, which must be there."""
    assert all((root / name).exists() for name in names)
    paths = [path for name in names for path in (root / name, *(root / name).rglob("*"))]
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in paths
        if path.is_file()
    }


def fingerprinted(root: Path, ok: bool = True) -> Run:
    """Run the stage that DVC runs before all others."""
    return run(root, sys.executable, "-m", "stages.fingerprints", ok=ok)


def make(root: Path, *target: str) -> Run:
    """Run make with this Python in place of `.venv`."""
    return run(root, *make_command(root, *target), ok=False)


def make_command(root: Path, *target: str) -> list[str]:
    """The command line of `make`, and what it takes for an installed `.venv`: this Python."""
    installed = root / ".dvc/tmp/installed"
    version = f"Python {sys.version.split()[0]}\n{root}\n"
    requirements = (root / "requirements.txt").read_text(encoding="utf-8")
    installed.write_text(version + requirements, encoding="utf-8")
    hidden = ("-uMAKEFLAGS", "-uMAKELEVEL")
    settings = (f"VENV={sys.prefix}", f"INSTALLED={installed}", "PYTHON=false")
    return ["env", *hidden, "make", *settings, *target]


def copied(root: Path, to: Path) -> Path:
    # Unlike shutil, cp keeps hard links between DVC's cache and the workspace.
    subprocess.run(["cp", "-a", f"{root}/.", str(to)], check=True)
    config = to / ".dvc/config.local"
    config.write_text(config.read_text(encoding="utf-8").replace(str(root), str(to)))
    return to
