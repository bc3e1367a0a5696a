"""Write the ONNX file that OpenCV reads: the exported one, or the same function in operators that
OpenCV computes right, as `models.<model>.mend` says.

With `mend: none`, or where `auto` finds no rule that helps, it is a copy of the exported file; the
verdict then shows what is wrong.
"""

import argparse
import shutil

from parity.core.cli import log, run
from parity.core.files import new_file, write_json
from parity.core.params import NO_MENDING, PARAMS, Params, load_params, of_model
from parity.core.paths import mended_path, mending_path, onnx_path


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="stages.mend", description=__doc__)
    parser.add_argument("model", help="an entry of `models` in params.yaml")
    name = parser.parse_args(argv).model

    params = load_params()
    how, content = params.models[name].mend, {}
    with new_file(mended_path(name)) as partial:
        if how == NO_MENDING:
            shutil.copyfile(onnx_path(name), partial)
            log(f"{name}: the exported file as it is (`mend: {how}`)")
        else:
            content = mend_model(name, how, of_model(params, name), partial)
    write_json(mending_path(name), {"mend": how, **content})


def mend_model(name: str, how: str | list[str], params: Params, target) -> dict:
    """Mend a model's file for its engine and write it; returns what was done.

    Rules that params.yaml lists are applied even where the proof fails, which the verdict then
    says.
    """
    # Heavy, and most models need none of it.
    from parity.faults.settings import FILE_LIMITS, engine_settings
    from parity.graphs.graph import save
    from parity.mending.blobs import image_blobs
    from parity.mending.file import mend_file, rules_named
    from parity.mending.steps import steps_text

    blobs = image_blobs(name, params.models[name], params)
    settings = engine_settings(params.opencv, params.stability.perturb)
    rules = None if how == "auto" else rules_named(how, f"{PARAMS}: models.{name}.mend")
    mended = mend_file(onnx_path(name), blobs, settings, FILE_LIMITS.rel, log, rules)
    if mended.steps and (mended.passes or rules is not None):
        log(f"{name}: mended: {steps_text(mended.steps)}")
        save(mended.model, target)
        return mended.content(written=True)
    shutil.copyfile(onnx_path(name), target)
    if mended.mending.before.passes:
        log(f"{name}: nothing to mend")
    else:
        log(f"{name}: not mended: {'; '.join(mended.mending.tried) or 'no rule fits'}")
    return mended.content()


if __name__ == "__main__":
    run(main)
