"""A small selection of the bench in helpers/mutant_bench.py: docs/locate.md has the figures."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from helpers.mutant_bench import AS_IT_IS, Pair, distance, mutants_of, pairs, search

NETWORKS = ("gru", "convnext")
COUNT = 8  # mutants of each network


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> dict[str, list[Pair]]:
    folder: Path = tmp_path_factory.mktemp("networks")
    return {name: pairs(name, folder) for name in NETWORKS}


@pytest.mark.process
@pytest.mark.parametrize("name", NETWORKS)
def test_mutants_are_located_at_the_very_node(found, name):
    places = {}
    for mutant in mutants_of(list(found[name]), COUNT, np.random.default_rng(0), Counter()):
        located = search(mutant.pair.reference, mutant.model)
        places[str(mutant)] = distance(mutant.pair.reference, located, mutant.node)
    wrong = {name: place for name, place in places.items() if place != 0}
    assert len(places) == COUNT and len(wrong) <= 1, wrong


@pytest.mark.process
@pytest.mark.parametrize("name", NETWORKS)
def test_a_file_that_is_only_rewritten_has_no_fault(found, name):
    for pair in found[name]:
        if pair.rewrite != AS_IT_IS:
            assert search(pair.reference, pair.candidate.model) is None, pair.rewrite
