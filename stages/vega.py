"""Write the library that draws the report's charts in a browser: Vega-Lite, with all it needs, as
one script, which changes only with vl-convert-python."""

import argparse

import vl_convert

from parity.core.cli import log, run
from parity.core.files import write_text
from parity.core.paths import VEGA


def main(argv: list[str] | None = None) -> None:
    argparse.ArgumentParser(prog="stages.vega", description=__doc__).parse_args(argv)
    write_text(VEGA, vl_convert.javascript_bundle())
    log(f"{VEGA}: Vega-Lite {max(vl_convert.get_vegalite_versions())}")


if __name__ == "__main__":
    run(main)
