"""Remove what the pipeline made for models, datasets and profiles that params.yaml no longer has.

dvc.lock lists what each stage wrote, with a hash. A file or folder goes while it still has that
content; one that was changed since stays and is named. DVC's cache keeps what it holds, so that an
entry that comes back is restored.
"""

import argparse
from pathlib import Path

from ruamel.yaml import YAML

from parity.core.cli import log, run
from parity.core.files import new_file, remove
from parity.core.lockfile import LOCK, Output, is_as_written, locked_outputs, md5_of_folder
from parity.core.params import Params, load_params
from parity.core.paths import bundle_path
from parity.core.written import files_below, is_own, read_written

PIPELINE = Path("dvc.yaml")


def main(argv: list[str] | None = None) -> None:
    argparse.ArgumentParser(prog="tools.prune", description=__doc__).parse_args(argv)
    orphans = orphaned_outputs(load_params())
    there = [one for one in orphans if one.path.exists()]
    removed = [one for one in there if is_as_written(one)]
    for one in removed:
        remove(one.path, kept_folders=2)  # data/, models/, metrics/ and plots/ stay
    if orphans:
        forget(orphans)
        entries = sorted({one.stage.partition("@")[2] or one.stage for one in orphans})
        log(f"{', '.join(entries)}: no longer in the pipeline: removed {len(removed)} results")
        prune_bundles(entries)
    for one in there:
        if one not in removed:
            log(f"{one.path}: kept, as it is not what the pipeline wrote")


def prune_bundles(models: list[str]) -> None:
    """Remove the bundles of models, which no stage writes, where they are still as written."""
    written = read_written()
    for folder in map(bundle_path, models):
        archive = folder.with_name(f"{folder.name}.zip")
        for file in [*files_below(folder), *([archive] if archive.exists() else [])]:
            if is_own(file, written):
                remove(file, kept_folders=2)
            else:
                log(f"{file}: kept, as it is not what the project wrote")


def orphaned_outputs(params: Params) -> list[Output]:
    """What stages wrote that are gone from dvc.yaml, or whose entry is, such as `evaluate@old`."""
    templates = YAML(typ="safe").load(PIPELINE)["stages"]
    orphans = []
    for output in locked_outputs():
        stage, _, entry = output.stage.partition("@")
        section = str(templates.get(stage, {}).get("foreach", "")).strip("${}")
        if stage not in templates or (section and entry not in getattr(params, section)):
            orphans.append(output)
    return orphans


def forget(orphans: list[Output]) -> None:
    """Take orphans out of dvc.lock: their stages, and their part in folders that others read, such
    as `data/results`. Those read in there only what params.yaml has, and need not run again."""
    from dvc.utils.serialize import dump_yaml, load_yaml

    content = load_yaml(str(LOCK))
    stages = content["stages"]
    for stage in {one.stage for one in orphans}:
        del stages[stage]
    outs = [out for entry in stages.values() for out in entry.get("outs", [])]
    for dep in [dep for entry in stages.values() for dep in entry.get("deps", [])]:
        folder = Path(dep["path"])
        if any(folder in one.path.parents for one in orphans):
            left = [out for out in outs if folder in Path(out["path"]).parents]
            files = {Path(out["path"]).relative_to(folder).as_posix(): out["md5"] for out in left}
            dep["md5"], dep["nfiles"] = md5_of_folder(files), len(files)
            dep["size"] = sum(out["size"] for out in left)
    with new_file(LOCK) as partial:
        dump_yaml(str(partial), content)


if __name__ == "__main__":
    run(main)
