import pytest
from helpers.coverage import made_record
from helpers.refusals import refused

from parity.coverage.record_diff import compare_records

NEW, CLASSIC = "dynamo 18, new 5.0.0", "dynamo 18, classic 5.0.0"


def record_of(new: str, classic: str = "same") -> dict:
    return made_record({"net": {NEW: new, CLASSIC: classic}})


@pytest.mark.parametrize(
    ("old", "new", "lines", "worse"),
    [
        (("same",), ("same",), ["no verdict changed"], False),
        (
            ("same", "same"),
            ("refused", "different"),
            [
                "worse: 2",
                "  net, dynamo, classic: same -> different",
                "  net, dynamo, new: same -> refused",
            ],
            True,
        ),
        (
            ("same",),
            ("same (fixed)",),
            ["worse: 1", "  net, dynamo, new: same -> same (fixed)"],
            True,
        ),
        (
            ("same", "imprecise"),
            ("imprecise", "refused"),
            [
                "worse: 2",
                "  net, dynamo, classic: imprecise -> refused",
                "  net, dynamo, new: same -> imprecise",
            ],
            True,
        ),
        (("crashed",), ("same",), ["better: 1", "  net, dynamo, new: crashed -> same"], False),
        (
            ("different",),
            ("crashed",),
            ["better: 1", "  net, dynamo, new: different -> crashed"],
            False,
        ),
    ],
)
def test_what_got_better_and_worse_is_listed(old, new, lines, worse):
    assert compare_records(record_of(*old), record_of(*new)) == (lines, worse)


def test_models_of_one_record_only_are_counted():
    both = made_record({"a": {NEW: "same", CLASSIC: "same"}, "b": {NEW: "same"}})
    one = made_record({"a": {NEW: "same", CLASSIC: "same"}})
    assert compare_records(both, one) == (["only in the first: 1 cells of 1 models"], False)
    assert compare_records(one, both) == (["new: 1 cells of 1 models"], False)


def test_records_without_a_common_cell_cannot_be_compared():
    with refused("the two records have no model and combination in common"):
        compare_records(made_record({"a": {NEW: "same"}}), made_record({"b": {NEW: "same"}}))


def test_an_upgrade_is_compared_though_the_names_of_the_combinations_differ():
    newer = made_record({"net": {"dynamo 20, new 5.1.0": "refused"}})
    newer["constants"]["versions"]["torch"] = "9.9"
    lines, worse = compare_records(made_record({"net": {NEW: "same"}}), newer)
    assert worse and lines == [
        "OpenCV 5.0.0 -> 5.1.0",
        "measured differently: versions.torch 2.0 (now 9.9)",
        "worse: 1",
        "  net, dynamo, new: same -> refused",
    ]


def test_an_added_version_is_new_and_changes_nothing():
    more = made_record({"net": {NEW: "same", "dynamo 18, new 4.1.0": "crashed"}})
    lines, worse = compare_records(made_record({"net": {NEW: "same"}}), more)
    assert not worse and lines == ["OpenCV 5.0.0 -> 4.1.0, 5.0.0", "new: 1 cells of 1 models"]
