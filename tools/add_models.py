"""Add the models of docs/models.md's table that params.yaml lacks; its comments stay."""

import argparse

from parity.core.cli import InputError, log, run
from parity.core.params import PARAMS, load_params
from parity.core.params_file import read_editable, set_keys, write_edited

MODELS = {
    "classification": (
        *("alexnet", "vgg11", "vgg13", "vgg16", "vgg19"),
        *("resnet18", "resnet34", "resnet50", "resnet101", "resnet152"),
        *("squeezenet1_0", "squeezenet1_1", "resnext50_32x4d", "resnext101_32x8d"),
        *("wide_resnet50_2", "wide_resnet101_2"),
    ),
    "segmentation": ("fcn_resnet50", "fcn_resnet101"),
}


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="tools.add_models", description=__doc__)
    parser.add_argument(
        "--weights", default="probe", help="`weights` of the added entries (default: %(default)s)"
    )
    weights = parser.parse_args(argv).weights

    params = load_params()
    profiles = {profile.task: name for name, profile in reversed(params.preprocess.items())}
    added = {}
    for task, names in MODELS.items():
        if task not in profiles:
            raise InputError(f"{PARAMS}: preprocess: no profile for {task}, which the models need")
        for name in names:
            if name not in params.models:
                added[name] = {"task": task, "preprocess": profiles[task], "weights": weights}
    if added:
        content = read_editable()
        set_keys(content, {f"models.{name}": entry for name, entry in added.items()})
        write_edited(content)
    log(f"{PARAMS}: added {', '.join(added) or 'nothing: it has all models'}")


if __name__ == "__main__":
    run(main)
