"""Write a reproducer of each cause that variations of our own show in the installed OpenCV:
`python -m tools.cause_reproducers [CAUSE ...]`.

Exit code 0 where each is written, or already there; 1 where no case shows one of the causes.
"""

import argparse
import sys

from parity.core.cli import InputError, run
from parity.operators.causes import CAUSES
from parity.operators.reproducers import FOLDER, write_cause
from parity.operators.variations.cases import variations


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="tools.cause_reproducers", description=__doc__)
    parser.add_argument("causes", nargs="*", metavar="CAUSE", help="default: all")
    args = parser.parse_args(argv)
    known = {cause.key: cause for cause in CAUSES}
    for key in args.causes:
        if key not in known:
            raise InputError(f"CAUSE: found {key!r}; expected one of {', '.join(known)}")
    cases, unseen = list(variations()), []
    for key in args.causes or known:
        written = write_cause(known[key], cases)
        if written is None:
            unseen.append(key)
            continue
        evidence = written.evidence
        nodes = " + ".join(node.op_type for node in evidence.model.graph.node)
        print(f"{FOLDER / key}: {nodes}, {evidence.engine} engine: {evidence.symptom.text}")
    if unseen:
        print(f"no case shows {', '.join(unseen)} in this OpenCV")
        sys.exit(1)


if __name__ == "__main__":
    run(main)
