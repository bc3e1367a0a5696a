"""Check any ONNX file against OpenCV: `make check ONNX=any.onnx [INPUT=blob.npy]`.

It needs no PyTorch, no dataset and no params.yaml: requirements-check.txt is enough. First it says
what is known of the file's operators in this OpenCV and in the next one. Then it runs each engine
beside ONNX Runtime: on several batches and sizes where the file leaves them open, one after the
other on one network, and on dirty heaps. Exit code 0 if OpenCV is right, 1 if it is not. The last
line on stdout is JSON.
"""

import argparse
import json
import sys
from pathlib import Path

from parity.backends.opencv import engines
from parity.checking.check import AUTO, check_file
from parity.checking.known import read_records
from parity.checking.report import report_json, report_lines
from parity.core.cli import InputError, run
from parity.faults.inputs import drawn_blob, feeds_of, read_blob
from parity.graphs.graph import load_model
from parity.networks.onnx_file import network_input


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="tools.check", description=__doc__.split("\n\n")[0])
    parser.add_argument("model", help="the ONNX file")
    parser.add_argument("--input", help="a blob, an .npy of float32; default: drawn")
    parser.add_argument(
        "--engine",
        choices=sorted({AUTO, *engines()}),
        default=AUTO,
        help="judge this engine alone; default: each, and the answer is that of the one that runs"
        " the file if none is named",
    )
    parser.add_argument("--json", action="store_true", help="print the line of JSON alone")
    args = parser.parse_args(argv)
    if not args.model:
        raise InputError("ONNX: missing; expected the path of an ONNX file")
    path = Path(args.model)
    model = load_model(path)
    network_input(path, model)
    given = Path(args.input) if args.input else None  # an empty one is `make` without INPUT
    if given:
        blob, source = read_blob(given), str(given)
    else:
        blob, source = drawn_blob(path, model), "random numbers"
    feeds_of(path, model, blob, source)
    records = read_records()
    checked = check_file(path, model, blob, source, records, args.engine, given)
    if not args.json:
        for line in report_lines(checked):
            print(line)
    print(json.dumps(report_json(checked), ensure_ascii=False))
    if not checked.passes:
        sys.exit(1)


if __name__ == "__main__":
    run(main)
