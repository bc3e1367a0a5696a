import os

import pytest
from helpers.refusals import refused

from parity.core.plain_yaml import MAX_BYTES, MAX_DEPTH, MAX_VALUES, read_yaml

# Ten to the power of 9 values in 10 lines.
BOMB = "a0: &a0 [x, x]\n" + "".join(
    f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]\n" for level in range(1, 10)
)


def read(tmp_path, content: str | bytes) -> object:
    path = tmp_path / "x.yaml"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_yaml(path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "a: [1, 1e-3, .inf, true, null, text]",
            {"a": [1, 1e-3, float("inf"), True, None, "text"]},
        ),
        ("a: &x {b: 1}\nc: *x\nd:\n  <<: *x", {"a": {"b": 1}, "c": {"b": 1}, "d": {"b": 1}}),
        ("\ufeffa: 1\r\nb: yes\r\n", {"a": 1, "b": "yes"}),
        (f"a: {'[' * (MAX_DEPTH - 1)}{']' * (MAX_DEPTH - 1)}", None),
        ("", None),
        ("- a", ["a"]),
    ],
)
def test_plain_values_are_read(tmp_path, text, expected):
    found = read(tmp_path, text)
    assert expected is None or found == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 2024-01-01", ": a: found the date 2024-01-01; expected text, in quotes"),
        ("a:\n  b:\n  - 1\n  - 2024-01-01T10:00:00Z", ": a.b.1: found the datetime"),
        ("a: !!set {b}", ": a: found the set"),
        ("a: !!binary aGk=", ": a: found the bytes"),
        ("a: !!pairs [b: 1]", ": a.0: found the tuple"),
        (f"a: {'1' * 4000}", ": a: found an integer of 13285 bits; expected at most 64"),
        (f"a: 0x{'1' * 5000}", ": a: found an integer of 19997 bits"),
        ("a: {1: b}", ": a: found the key 1 (int); expected text"),
        ("true: b", ": found the key True (bool)"),
        ("null: b", ": found the key None (NoneType)"),
        ("a: {b: {.nan: c}}", ": a.b: found the key nan (float)"),
        ("2024-01-01: b", ": found the key 2024-01-01 (date)"),
        ("? [a, b]\n: c", ": found the key ('a', 'b') (tuple)"),
    ],
)
def test_another_value_is_refused_with_its_key(tmp_path, text, expected):
    with refused(f"x.yaml{expected}"):
        read(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\nb: !!int abc", ":2: not valid YAML: found abc, which is no valid int"),
        ("a: !!float abc", ":1: not valid YAML: found abc"),
        ("a: !!bool abc", ":1: not valid YAML: found abc"),
        ("a: !!timestamp abc", ":1: not valid YAML: failed to construct timestamp"),
        ("a: 2024-13-45", ":1: not valid YAML: found 2024-13-45, which is no valid timestamp"),
        (f"a: {'1' * 5000}", "... (5000 characters), which is no valid int"),
        ("a: !!map b", ":1: not valid YAML: expected a mapping node"),
        ("a: !mine b", ":1: not valid YAML: could not determine a constructor"),
        ("a: !!python/object:os.system b", ":1: not valid YAML: could not determine"),
        ("a: 1\na: 2", ":2: not valid YAML: while constructing a mapping found duplicate key"),
        ("? {a: b}\n: c", ":1: not valid YAML: while constructing a mapping found unhashable key"),
        ("a: *b", ":1: not valid YAML: found undefined alias"),
        ("a:\n  <<: 3", ":2: not valid YAML: while constructing a mapping expected a mapping"),
        ("a: 1\n---\nb: 2", ":2: not valid YAML: expected a single document"),
        ("a:\n\t- b", ":2: not valid YAML: "),
        (f"{'k' * 2000}: 1", ":1: not valid YAML: mapping values are not allowed"),
        ("%YAML 9.9\n---\na: 1", ":1: not valid YAML: "),
        ('a: "\\ud800"', ":1: not valid YAML: "),
        ("a: b\0c", ": not valid YAML: "),
        ("a: é".encode("latin-1"), ": not valid YAML: not UTF-8: "),
        ("a: 1".encode("utf-16"), ": not valid YAML: not UTF-8: "),
        (bytes(range(256)), ": not valid YAML: not UTF-8: "),
    ],
)
def test_what_is_not_yaml_is_refused_with_its_line(tmp_path, text, expected):
    with refused("x.yaml", expected):
        read(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"a: {'[' * 400}{']' * 400}", f":1: found values nested deeper than {MAX_DEPTH} levels"),
        (f"a: {'[' * 100_000}", "nested deeper"),  # it would crash the parser
        (f"a: {'{b: ' * 400}{'}' * 400}", "nested deeper"),
        ("".join(f"{' ' * level}a:\n" for level in range(400)), "nested deeper"),
        ("a: &a [*a]", "nested deeper"),
        ("a: &a {b: *a}", "nested deeper"),
        (BOMB, f"found more than {MAX_VALUES} values, those that aliases repeat included"),
        (f"a: [{'1, ' * MAX_VALUES}]", f"found more than {MAX_VALUES} values"),
        (f"#{'#' * MAX_BYTES}", f"found {MAX_BYTES + 1} bytes; expected at most {MAX_BYTES}"),
    ],
)
def test_the_bounds_are_kept(tmp_path, text, expected):
    with refused("x.yaml", expected):
        read(tmp_path, text)


def test_a_folder_and_a_fifo_are_refused(tmp_path):
    with refused(f"{tmp_path}: found a folder"):
        read_yaml(tmp_path)
    os.mkfifo(tmp_path / "x.yaml")
    with refused("x.yaml: found a FIFO"):
        read_yaml(tmp_path / "x.yaml")
