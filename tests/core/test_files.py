import json
import os

import numpy as np
import pytest

from parity.core.files import (
    new_directory,
    new_file,
    scratch_directory,
    write_json,
    write_text,
)


def names(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_new_file_replaces_the_old_one(tmp_path):
    target = tmp_path / "below" / "a.txt"
    for text in ("old", "new"):
        with new_file(target) as partial:
            partial.write_text(text)
    assert target.read_text() == "new" and names(target.parent) == ["a.txt"]


def test_a_file_that_fails_half_way_leaves_the_old_one(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(KeyboardInterrupt), new_file(target) as partial:
        partial.write_text("ne")
        raise KeyboardInterrupt
    assert target.read_text() == "old" and names(tmp_path) == ["a.txt"]


def test_the_old_file_stands_until_the_new_one_is_whole(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("old")
    with new_file(target) as partial:
        partial.write_text("new")
        assert target.read_text() == "old"


def test_a_new_directory_replaces_the_old_one_with_all_its_files(tmp_path):
    target = tmp_path / "below" / "a"
    for name in ("old", "new"):
        with new_directory(target) as partial:
            (partial / name).write_text(name)
    assert names(target) == ["new"] and names(target.parent) == ["a"]


def test_a_directory_that_fails_half_way_leaves_the_old_one(tmp_path):
    target = tmp_path / "a"
    with new_directory(target) as partial:
        (partial / "old").write_text("old")
    with pytest.raises(ValueError), new_directory(target) as partial:
        (partial / "new").write_text("ne")
        raise ValueError
    assert names(target) == ["old"] and names(tmp_path) == ["a"]


@pytest.mark.parametrize("ends", [True, False])
def test_a_scratch_directory_goes_and_what_was_taken_from_it_stays(tmp_path, ends):
    left = tmp_path / ".target.1.partial"
    left.mkdir()
    try:
        with scratch_directory(tmp_path / "target") as scratch:
            (scratch / "taken").write_text("taken")
            (scratch / "left").write_text("left")
            (scratch / "taken").replace(tmp_path / "target")
            assert ends
    except AssertionError:
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["target"]


def test_what_a_killed_run_left_is_removed(tmp_path):
    (tmp_path / ".a.json.123.partial").write_text("half")
    (tmp_path / ".a.123.partial" / "below").mkdir(parents=True)
    (tmp_path / ".a.123.old.partial").mkdir()
    with new_directory(tmp_path / "a"):
        pass
    write_text(tmp_path / "a.json", "{}")
    assert names(tmp_path) == ["a", "a.json"]


def test_other_files_are_left_alone(tmp_path):
    for name in ("b.json", ".b.json.123.partial", "a.json.bak", ".a.json.x.1.partial"):
        (tmp_path / name).write_text(name)
    write_text(tmp_path / "a.json", "{}")
    assert names(tmp_path) == [
        *(".a.json.x.1.partial", ".b.json.123.partial", "a.json", "a.json.bak", "b.json")
    ]


def test_a_link_is_replaced_and_what_it_leads_to_stays(tmp_path):
    # DVC links outputs to its cache; writing through the link would damage the cache.
    (tmp_path / "cache").write_text("old")
    os.link(tmp_path / "cache", tmp_path / "hard")
    (tmp_path / "soft").symlink_to(tmp_path / "cache")
    for name in ("hard", "soft"):
        write_text(tmp_path / name, "new")
        assert (tmp_path / name).read_text() == "new"
    assert (tmp_path / "cache").read_text() == "old"


def test_json_has_null_where_a_number_is_not_finite(tmp_path):
    nan, inf = float("nan"), float("inf")
    content = {"a": nan, "b": [1.5, inf, {"c": -inf}], "d": np.float64(nan), "e": "é", "f": (1, 2)}
    write_json(tmp_path / "a.json", content)
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    expected = {"a": None, "b": [1.5, None, {"c": None}], "d": None, "e": "é", "f": [1, 2]}
    assert json.loads(text) == expected
    assert "é" in text and text.endswith("}\n")


def test_what_json_cannot_hold_leaves_the_old_file(tmp_path):
    write_json(tmp_path / "a.json", {"a": 1})
    with pytest.raises(TypeError):
        write_json(tmp_path / "a.json", {"a": object()})
    assert json.loads((tmp_path / "a.json").read_text()) == {"a": 1}
    assert names(tmp_path) == ["a.json"]
