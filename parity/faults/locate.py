"""Find the first node whose output is wrong, and who owns that: `make locate MODEL=...`.

Of a model of params.yaml: where the ONNX file parts from the PyTorch network (owner `export`), else
where OpenCV parts from ONNX Runtime (owner `engine`). Of two files: where the candidate parts from
the reference in ONNX Runtime (`export`), else where OpenCV does with the candidate (`engine`).
Exit code 1 where something differs. The last line on stdout is JSON.
"""

import argparse
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from math import inf
from pathlib import Path

import numpy as np
from onnx import ModelProto

from parity.backends.contract import BackendFailure
from parity.backends.opencv import check_opencv, default_engine
from parity.core.cli import InputError, log, run
from parity.core.machine import cores
from parity.core.params import ModelParams, OpenCVParams, Params, entry, load_params
from parity.core.paths import locate_path
from parity.evaluation.verdict import gate_limits
from parity.faults.depth_chart import draw_depth
from parity.faults.exported import made
from parity.faults.fault import Fault, fault_json, fault_lines, unlocated
from parity.faults.in_engine import EngineSetting, locate_in_engine, run_whole
from parity.faults.in_file import SIDES, locate_in_file
from parity.faults.inputs import feeds_of, read_blob, real_blob
from parity.graphs.difference import Difference, compare, of_failure, worst
from parity.graphs.graph import all_values, load_model, output_names, source_module
from parity.graphs.divergence import Computed, compute, differs_inside, errors_by_name
from parity.graphs.matching import output_pairs

ENGINES = ("auto", "classic", "new")
LIMIT = 1e-4  # of two files; a model has the gate's
LIMIT_S = 120.0  # for OpenCV to read a graph and run it; of a model it is params.yaml's
DPI = 120


@dataclass
class Located:
    """What was found, in the graph that it was found in, with all its tensors."""

    fault: Fault | None
    model: ModelProto
    values: Mapping[str, np.ndarray]


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="tools.locate", description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", help="an entry of `models` in params.yaml")
    parser.add_argument("--image", type=int, help="its number in the val split, from 0")
    parser.add_argument("--reference", type=Path, help="an ONNX file, in place of a model")
    parser.add_argument("--candidate", type=Path, help="the file to be compared with it")
    parser.add_argument("--input", type=Path, help="the blob, an .npy file of float32")
    parser.add_argument("--engine", choices=ENGINES, help="default: params.yaml's, or auto")
    parser.add_argument("--limit", type=float, help="relative error; default: the gate's, or 1e-4")
    args = parser.parse_args(argv)
    files = (args.reference, args.candidate, args.input)
    if bool(args.model) == any(files) or any(files) != all(files):
        raise InputError("expected a MODEL, or all of --reference, --candidate and --input")
    if args.limit is not None and not 0 < args.limit < inf:
        raise InputError(f"--limit: found {args.limit:g}; expected a number above 0")
    if args.model:
        params, name = load_params(), args.model
        entry(params, "models", name)
        with made(name) as path:
            located = in_model(args, params, path)
    else:
        if args.image is not None:
            raise InputError("--image: means nothing with two files")
        located, name = between_files(args), args.candidate.stem
    report(located, locate_path(name))
    if located.fault:
        sys.exit(1)


def in_model(args: argparse.Namespace, params: Params, path: Path) -> Located:
    """Look at a model of params.yaml: its file against PyTorch, then OpenCV against its file."""
    entry_ = entry(params, "models", args.model)
    limit = args.limit or gate_limits(params, args.model).rel
    setting = setting_of(args.engine, params.opencv)
    model = load_model(path)
    blob, what = real_blob(args.model, entry_, args.image)
    print(f"{path} on {what}, blob {blob.shape}")
    computed = compute(model, feeds_of(path, model, blob, what))
    fault = None
    if entry_.onnx is None:
        fault = against_pytorch(args.model, entry_, params, blob, model, computed, limit)
    elif computed.failure:
        fault = unreadable(model, computed, limit)
    return (
        Located(fault, model, computed.values)
        if computed.failure
        else against_opencv(path, model, computed, setting, limit, fault)
    )


def against_pytorch(
    name: str,
    model: ModelParams,
    params: Params,
    blob: np.ndarray,
    graph: ModelProto,
    computed: Computed,
    limit: float,
) -> Fault | None:
    """Where the file, in ONNX Runtime, parts from the network, if it does."""
    if computed.failure:
        return unreadable(graph, computed, limit)
    from parity.faults.in_modules import locate_in_modules, module_calls
    from parity.networks.network import saved_network

    network = saved_network(name, model)
    calls, output = module_calls(network, blob)
    whole = compare(computed.values[output_names(graph)[0]], output)
    print(f"ONNX Runtime against PyTorch: {whole.text()}")
    if whole.rel <= limit:
        return None
    search = partial(locate_in_modules, calls, output, graph, computed.values, limit)
    sides = ("ONNX Runtime", "PyTorch")
    return told(search, unlocated("export", sides, output_names(graph)[0], whole, limit))


def unreadable(model: ModelProto, computed: Computed, limit: float) -> Fault:
    """The node up to which ONNX Runtime runs a file."""
    node, failure = computed.node, computed.failure
    print(f"ONNX Runtime: {failure.kind}: {failure}")
    return Fault(
        owner="export",
        sides=("ONNX Runtime", "reference"),
        node=node,
        output=node.output[0] if node else output_names(model)[0],
        difference=of_failure(failure),
        reference=None,
        limit=limit,
        order=[],
        errors={},
        confirmed=True,
        how="ONNX Runtime runs the graph up to this node and not with it",
    )


def against_opencv(
    path: Path,
    model: ModelProto,
    computed: Computed,
    setting: EngineSetting,
    limit: float,
    fault: Fault | None,
) -> Located:
    """Where OpenCV parts from ONNX Runtime, unless a `fault` of the file was found before."""
    whole = run_whole(path, model, computed.values, setting)
    print("\n".join(whole.lines()), flush=True)
    wrong = whole.worst(limit)
    if fault is None and wrong:
        search = partial(locate_in_engine, model, computed.values, whole, setting, limit)
        sides = ("OpenCV", "ONNX Runtime")
        fault = told(search, unlocated("engine", sides, wrong.output, wrong.difference, limit))
    elif wrong:
        fault.notes.append("OpenCV differs from ONNX Runtime on this file as well")
    return Located(fault, model, computed.values)


def between_files(args: argparse.Namespace) -> Located:
    """Look at two files: ONNX Runtime on both, then OpenCV on the candidate."""
    limit = args.limit or LIMIT
    setting = setting_of(args.engine, None)
    reference, candidate = load_model(args.reference), load_model(args.candidate)
    check_outputs(args.reference, reference, args.candidate, candidate)
    blob = read_blob(args.input)
    feeds = feeds_of(args.reference, reference, blob, str(args.input))
    own_feeds = feeds_of(args.candidate, candidate, blob, str(args.input))
    try:
        expected = all_values(reference, feeds)
    except BackendFailure as failure:
        raise InputError(f"{args.reference}: {failure}") from None
    computed = compute(candidate, own_feeds)
    apart = outputs_apart(reference, expected, candidate, computed)
    print(f"candidate against reference, both in ONNX Runtime: {apart.text()}")
    errors = errors_by_name(reference, expected, candidate, computed.values)
    if not apart.rel <= limit or differs_inside(errors, limit):
        search = partial(locate_in_file, reference, expected, candidate, computed, limit)
        blank = unlocated("export", SIDES, output_names(reference)[0], apart, limit)
        fault = told(search, blank)
        if apart.rel <= limit:
            fault.notes.append("the outputs agree within the limit all the same, on this blob")
        return Located(fault, reference, expected)
    if (first := next((name for name, error in errors.items() if error.rel), None)) is not None:
        print(f"within the limit: first at {first}, {errors[first].text()}")
    return against_opencv(args.candidate, candidate, computed, setting, limit, None)


def told(search: Callable[[], Fault], blank: Fault) -> Fault:
    """What a search finds. Where it breaks off, that something differs and who owns it stands all
    the same: the `blank`."""
    try:
        return search()
    except InputError:
        raise
    except Exception as error:  # of any library that reads a graph which may be broken
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        blank.how = f"not located: the search broke off: {reason}"
        return blank


def check_outputs(path: Path, reference: ModelProto, other: Path, candidate: ModelProto) -> None:
    """Raise InputError where two files do not have as many outputs."""
    ours, theirs = output_names(reference), output_names(candidate)
    if len(ours) != len(theirs):
        found = f"found {len(theirs)} outputs: {', '.join(theirs) or 'none'}"
        raise InputError(f"{other}: {found}; {path} has {len(ours)}: {', '.join(ours) or 'none'}")


def outputs_apart(
    reference: ModelProto,
    expected: Mapping[str, np.ndarray],
    candidate: ModelProto,
    computed: Computed,
) -> Difference:
    """The difference of the outputs that are farthest apart."""
    if computed.failure:
        return of_failure(computed.failure)
    pairs = output_pairs(reference, candidate)
    return worst(compare(computed.values[theirs], expected[ours]) for ours, theirs in pairs.items())


def setting_of(engine: str | None, params: OpenCVParams | None) -> EngineSetting:
    """How to run OpenCV: on the CPU, whatever the target."""
    plain = {"backend": "default", "target": "cpu"}
    if params is None:
        params = OpenCVParams(engine=default_engine(), **plain, threads=0, time_limit=LIMIT_S)
    params = params.model_copy(update=plain | ({"engine": engine} if engine else {}))
    return EngineSetting(check_opencv(params)[0], params.threads or cores(), params.time_limit)


def report(located: Located, picture: Path) -> None:
    """Print what was found and draw it."""
    fault = located.fault
    if fault is None:
        print("nothing differs beyond the limit")
        print(fault_json(None))
        return
    module = fault.module or (source_module(fault.node)[0] if fault.node is not None else None)
    shapes = {name: value.shape for name, value in located.values.items()}
    print("\n".join(fault_lines(fault, located.model, shapes)))
    if fault.errors:
        title = f"{picture.stem}: {fault.sides[0]} against {fault.sides[1]}, by depth"
        text = f"{len(fault.errors)} of {len(fault.order)} tensors looked at; owner {fault.owner}"
        mark = (fault.output, fault.title + (f"\n{module}" if module else ""))
        try:
            draw_depth(picture, title, text, fault.order, fault.errors, fault.limit, mark, DPI)
            log(f"{picture}: written")
        except (OSError, ValueError) as error:  # what was found is more than its picture
            log(f"{picture}: not drawn: {error}")
    print(fault_json(fault, module))


if __name__ == "__main__":
    run(main)
