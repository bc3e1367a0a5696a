from helpers.coverage import made_record

from parity.coverage.advice import advise, upgrades
from parity.coverage.cells import Combination

NEW, CLASSIC = "dynamo 18, new 5.0.0", "dynamo 18, classic 5.0.0"
TORCHSCRIPT = "torchscript 18, new 5.0.0"
OLD = "dynamo 18, classic 4.1.0"


def test_the_combination_that_is_right_for_most_models_is_advised():
    models = {"a": {NEW: "different", CLASSIC: "same"}, "b": {NEW: "same", CLASSIC: "same"}}
    text = advise(made_record(models)).text()
    assert text == "With OpenCV 5.0.0, use **dynamo 18, classic**: right for 2 of 2 models."


def test_an_imprecise_combination_is_not_right():
    models = {"a": {NEW: "imprecise", CLASSIC: "same"}, "b": {NEW: "imprecise"}}
    advice = advise(made_record(models))
    assert str(advice.best) == str(advice.use("a")) == CLASSIC and advice.use("b") is None
    assert "use **dynamo 18, classic**: right for 1 of 1 models." in advice.text()


def test_of_equally_right_combinations_the_one_without_fixed_sizes_is_advised():
    advice = advise(made_record({"a": {CLASSIC: "same (fixed)", NEW: "same"}}))
    assert str(advice.best) == NEW


def test_a_version_that_few_models_were_tried_with_gives_no_advice():
    newest = "dynamo 18, new 5.9.9"
    models = {"a": {NEW: "same", newest: "same"}, "b": {NEW: "same"}}
    assert advise(made_record(models)).text().startswith("With OpenCV 5.0.0, use **dynamo 18, new")


def test_a_model_without_a_right_combination_is_named():
    advice = advise(made_record({"a": {NEW: "same"}, "b": {NEW: "crashed"}}))
    assert advice.is_hopeless("b") and advice.use("b") is None
    assert advice.text().endswith(" No combination is right for b.")


def test_a_model_that_was_not_tried_in_every_combination_is_not_hopeless():
    models = {"a": {NEW: "same", TORCHSCRIPT: "same"}, "b": {NEW: "crashed"}}
    advice = advise(made_record(models))
    assert not advice.is_hopeless("b") and advice.use("b") is None
    assert "No combination" not in advice.text()


def test_the_advised_combination_is_used_unless_another_is_clearly_faster():
    record = made_record({"a": {NEW: "same", CLASSIC: "same"}, "b": {NEW: "same"}})
    cells = record["models"]["a"]["cells"]
    new, classic = Combination.parse(NEW), Combination.parse(CLASSIC)
    assert advise(record).best == new
    cells[CLASSIC]["ms"] = 81.0
    assert advise(record).use("a") == new
    cells[CLASSIC]["ms"] = 79.0
    assert advise(record).use("a") == classic
    cells[CLASSIC]["fixed"] = True
    assert advise(record).use("a") == new
    cells[NEW]["verdict"] = "refused"
    assert advise(record).use("a") == classic


def test_an_upgrade_compares_every_engine_with_the_only_one_before():
    record = made_record({"a": {OLD: "same", CLASSIC: "same", NEW: "crashed"}})
    assert upgrades(record) == [
        ("From OpenCV 4.1.0 to 5.0.0, engine classic", []),
        (
            "From OpenCV 4.1.0 to 5.0.0, engine new in place of classic",
            ["worse: 1", "  a, dynamo 18: same -> crashed"],
        ),
    ]


def test_an_upgrade_compares_an_engine_with_the_same_one_before():
    newer = {"dynamo 18, new 5.9.9": "refused", "dynamo 18, classic 5.9.9": "same"}
    record = made_record({"a": {NEW: "same", CLASSIC: "same"} | newer})
    assert upgrades(record) == [
        ("From OpenCV 5.0.0 to 5.9.9, engine classic", []),
        ("From OpenCV 5.0.0 to 5.9.9, engine new", ["worse: 1", "  a, dynamo 18: same -> refused"]),
    ]
