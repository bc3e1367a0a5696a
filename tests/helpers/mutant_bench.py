"""How many faults does `locate` name? Measured on mutants of torchvision's networks.

`PYTHONPATH=.:tests python -m helpers.mutant_bench draw FOLDER` exports the networks into FOLDER and
writes mutants drawn by a seed beside them. `measure FOLDER` prints those that are not named at the
very node, then the sums.
"""

import argparse
import hashlib
import json
import time
from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import ModelProto

from helpers.mutant_networks import NETWORKS, blob_of, export_network
from helpers.mutants import KINDS, REWRITES, Editor, faults_of, renamed
from parity.faults.fault import Fault
from parity.faults.locate import compare_files
from parity.graphs.difference import compare
from parity.graphs.graph import ancestors, input_names, output_names
from parity.graphs.provenance import node_name
from parity.graphs.tolerance import Tolerance, measured_tolerance
from parity.graphs.values import all_values, compute_values

FIXED = 1e-4  # the limit where rounding is unknown, as for two files
AS_IT_IS, OTHER_EXPORTER, OTHER_NAMES = "as it is", "other exporter", ", other names"
SAME = 1e-4  # relative, of tensors that two exporters compute
MEANS = ("ReduceMean", "GlobalAveragePool")
LIST = "mutants.json"
TRIES = 12  # nodes of a kind, until one has an effect


@dataclass
class File:
    """A network's file with its tensors by ONNX Runtime, and the limits there."""

    model: ModelProto
    blob: np.ndarray

    @cached_property
    def values(self) -> dict[str, np.ndarray]:
        return all_values(self.model, dict.fromkeys(input_names(self.model), self.blob))

    @cached_property
    def tolerance(self) -> Tolerance:
        return measured_tolerance(self.model, self.values, FIXED)

    @cached_property
    def nodes(self) -> list:
        """The nodes whose outputs depend on the input, and that an output needs."""
        needed = ancestors(self.model, output_names(self.model))
        found = self.model.graph.node
        return [one for one in found if any(n in self.values and n in needed for n in one.output)]


@dataclass
class Pair:
    """A reference, an equal candidate, and which of their nodes correspond."""

    network: str
    rewrite: str
    reference: File
    candidate: File
    nodes: dict[str, str] = field(default_factory=dict)  # the candidate's: the reference's


@dataclass
class Mutant:
    pair: Pair
    kind: str
    node: str  # of the reference
    model: ModelProto

    def __str__(self) -> str:
        return f"{self.pair.network} | {self.pair.rewrite} | {self.kind} | {self.node}"


def same_names(reference: File, candidate: File) -> dict[str, str]:
    """Map nodes of one name and operator."""
    ours = {node.name: node for node in reference.nodes}
    return {
        node.name: node.name
        for node in candidate.nodes
        if node.name in ours and node.op_type == ours[node.name].op_type
    }


def same_values(reference: File, candidate: File) -> dict[str, str]:
    """Map nodes of one operator whose outputs agree with each other's and with no other's."""

    def outputs(file: File) -> dict:
        found = {node.name: file.values.get(node.output[0]) for node in file.nodes}
        return {k: v for k, v in found.items() if v is not None and v.dtype == np.float32}

    ours, theirs = outputs(reference), outputs(candidate)
    kinds = {node.name: node.op_type for node in (*reference.nodes, *candidate.nodes)}
    near = {
        their: [our for our, value in ours.items()
                if value.shape == found.shape and compare(found, value).rel < SAME]
        for their, found in theirs.items()
    }  # fmt: skip
    counts = Counter(our for found in near.values() for our in found)
    return {
        their: found[0]
        for their, found in near.items()
        if len(found) == 1 and counts[found[0]] == 1
        and (kinds[their] == kinds[found[0]] or {kinds[their], kinds[found[0]]} <= {*MEANS})
    }  # fmt: skip


def pairs(name: str, folder: Path) -> list[Pair]:
    """Return a network's pairs of equal files."""
    paths, blob = export_network(name, folder), blob_of(name)
    files = {exporter: File(onnx.load(path), blob) for exporter, path in paths.items()}
    found = []
    for exporter in ("dynamo", "unfolded"):
        reference = files[exporter]
        others = {AS_IT_IS: reference}
        for label, rewrite in REWRITES.items():
            spared = {node.name for node in reference.nodes[::2]}
            model = rewrite(reference.model, spared)
            if model is not None:
                others[label] = File(model, blob)
                others[label + OTHER_NAMES] = File(renamed(model), blob)
        found += [
            Pair(name, label, reference, other, same_names(reference, other))
            for label, other in others.items()
        ]
    for one, other in (("dynamo", "torchscript"), ("torchscript", "dynamo")):
        nodes = same_values(files[one], files[other])
        found.append(Pair(name, OTHER_EXPORTER, files[one], files[other], nodes))
    return found


def differs(pair: Pair, model: ModelProto) -> bool:
    """Whether a fault changes the output by more than rounding explains."""
    computed = compute_values(model, dict.fromkeys(input_names(model), pair.reference.blob))
    if computed.failure:
        return True
    reference, (ours,), (theirs,) = (
        pair.reference,
        output_names(pair.reference.model),
        output_names(model),
    )
    rel = compare(computed.values[theirs], reference.values[ours]).rel
    return rel > reference.tolerance.at(ours)


def mutants_of(found: list[Pair], count: int, rng: np.random.Generator, kinds: Counter):
    """Yield about `count` mutants of a network, of the kinds that are rare so far."""
    rng.shuffle(found)
    tried: set = set()
    for number in range(count):
        pair = found[number % len(found)]
        for kind in sorted(KINDS, key=lambda kind: (kinds[kind], rng.random())):
            operators = {one.name: one.op_type for one in pair.candidate.nodes}
            names = list(pair.nodes)
            rng.shuffle(names)
            nodes = {name: operators[name] for name in names}
            editor_of = lambda: Editor(pair.candidate.model, pair.candidate.values, rng)  # noqa: E731, B023
            mutant = None
            for tries, (node, model) in enumerate(faults_of(editor_of, nodes, kind)):
                if (pair.network, kind, pair.nodes[node]) not in tried and differs(pair, model):
                    mutant = Mutant(pair, kind, pair.nodes[node], model)
                    break
                if tries == TRIES:
                    break
            if mutant:
                tried.add((pair.network, kind, mutant.node))
                kinds[kind] += 1
                yield mutant
                break


def search(reference: File, model: ModelProto) -> Fault | None:
    feeds = dict.fromkeys(input_names(model), reference.blob)
    return compare_files(
        reference.model, reference.values, model, compute_values(model, feeds), reference.tolerance
    )


def distance(reference: File, found: Fault | None, node: str) -> int | None:
    """Return how many nodes lie between the named and the right one; None if none is named."""
    if found is None or found.node is None:
        return None
    order = [node_name(one) for one in reference.model.graph.node]
    return order.index(node_name(found.node)) - order.index(node)


def draw(args: argparse.Namespace) -> None:
    """Write the rewritten files and the mutants, with their references, into the folder."""
    rng, kinds, entries = np.random.default_rng(args.seed), Counter(), []
    args.folder.mkdir(parents=True, exist_ok=True)

    def write(pair: Pair, model: ModelProto, kind: str, node: str | None) -> None:
        names = []
        for one in (pair.reference.model, model):
            content = one.SerializeToString()
            names.append(f"{hashlib.blake2b(content, digest_size=8).hexdigest()}.onnx")
            (args.folder / names[-1]).write_bytes(content)
        entries.append([pair.network, pair.rewrite, kind, node, *names])

    for name in args.networks.split(","):
        start = time.time()
        found = pairs(name, args.folder)
        for pair in found:
            if pair.rewrite != AS_IT_IS:
                write(pair, pair.candidate.model, "", None)
        for mutant in mutants_of(found, args.count, rng, kinds):
            write(mutant.pair, mutant.model, mutant.kind, mutant.node)
        print(f"{name}: {time.time() - start:.0f} s", flush=True)
        (args.folder / LIST).write_text(json.dumps(entries, indent=0))
    print(dict(kinds))


def measure(args: argparse.Namespace) -> None:
    """Search all files of the folder."""
    sums, alarms, healthy, references = Counter(), 0, 0, {}
    start, before = time.time(), None
    for entry in json.loads((args.folder / LIST).read_text()):
        network, rewrite, kind, node, reference, candidate = entry
        if network not in args.networks.split(",") or (args.skip_healthy and node is None):
            continue
        if before != network:
            references, before = {}, network
        if reference not in references:
            references[reference] = File(onnx.load(args.folder / reference), blob_of(network))
        reference, model = references[reference], onnx.load(args.folder / candidate)
        located = search(reference, model)
        label = f"{network} | {rewrite} | {kind} | {node}"
        what = located and f"{located.title}, {located.difference.text()[:80]}"
        if node is None:
            healthy += 1
            if located:
                alarms += 1
                print(f"ALARM {label} {candidate}: {what}", flush=True)
            continue
        far = distance(reference, located, node)
        word = rating(located, far)
        sums[word] += 1
        if word == EXACT:
            sums["confirmed"] += located.confirmed
        else:
            print(f"{word} {label} {candidate}: {what}; {far} nodes off", flush=True)
    total = sum(count for word, count in sums.items() if word != "confirmed")
    print(f"{sums[EXACT]} of {total} named exactly, {dict(sums)}")
    print(f"{alarms} alarms in {healthy} rewritten files; {time.time() - start:.0f} s")


EXACT = "exact"


def rating(located: Fault | None, far: int | None) -> str:
    if located is None:
        return "MISSED"
    if far is None:
        return "UNLOCATED"
    return EXACT if far == 0 else "NEAR" if abs(far) < 3 else "FAR"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=("draw", "measure"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=17, help="mutants of each network")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--networks", default=",".join(NETWORKS))
    parser.add_argument("--skip-healthy", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    {"draw": draw, "measure": measure}[args.what](args)


if __name__ == "__main__":
    main()
