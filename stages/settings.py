"""Write what holds for each model: its entry, and the global settings with its own over them.

DVC follows keys of params.yaml, and cannot know which of two keys holds for a model. The stages of
a model depend on its files in data/settings/ instead.
"""

import argparse

from parity.core.cli import log, run
from parity.core.files import new_directory, write_json
from parity.core.params import load_params
from parity.core.paths import SETTINGS, settings_path
from parity.core.settings import settings_of


def main(argv: list[str] | None = None) -> None:
    argparse.ArgumentParser(prog="stages.settings", description=__doc__).parse_args(argv)
    params = load_params()
    with new_directory(SETTINGS) as out:
        for name in params.models:
            for section, content in settings_of(params, name).items():
                write_json(out / settings_path(name, section).relative_to(SETTINGS), content)
    log(f"the settings of {len(params.models)} models are in {SETTINGS}")


if __name__ == "__main__":
    run(main)
