"""Read a YAML file of plain values: mappings, lists, text, numbers, booleans and null.

Bounded, since a few lines of YAML can stand for a billion values, or nest until the parser crashes.
"""

from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.constructor import ConstructorError, SafeConstructor
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import CollectionEndEvent, CollectionStartEvent

from parity.core.cli import InputError
from parity.core.files import read_regular

MAX_BYTES = 2**20
MAX_DEPTH = 50
MAX_VALUES = 100_000  # with each alias counted as what it stands for
MAX_INTEGER = 2**64
TOO_DEEP = f"found values nested deeper than {MAX_DEPTH} levels; expected fewer"


class _Constructor(SafeConstructor):
    """Names the line of a value that is not what its form or tag says, such as 2024-13-45."""

    def construct_object(self, node, deep=False):
        try:
            return super().construct_object(node, deep)
        except YAMLError:
            raise
        except Exception as error:  # int(), datetime.date(), a lookup
            kind = node.tag.rpartition(":")[2]
            problem = f"found {_cut(node.value)}, which is no valid {kind}"
            raise ConstructorError(None, None, problem, node.start_mark) from error


def read_yaml(path: Path) -> object:
    """Read a file in UTF-8 with the parser that DVC uses (YAML 1.2).

    Raises InputError, naming the line or the dotted key, when the file is missing, not a regular
    file, not YAML, larger than the bounds above, or holds anything else than plain values.
    """
    try:
        text = read_regular(path, MAX_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not valid YAML: not UTF-8: {error.reason}") from None
    try:
        _check_depth(path, text)
        content = _parser().load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f":{mark.line + 1}" if mark else ""
        reason = " ".join(f"{error.context or ''} {error.problem or ''}".split())
        raise InputError(f"{path}{line}: not valid YAML: {reason}") from None
    except YAMLError as error:
        raise InputError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    _check_values(path, content)
    return content


def _parser() -> YAML:
    yaml = YAML(typ="safe")
    yaml.Constructor = _Constructor
    return yaml


def _check_depth(path: Path, text: str) -> None:
    """The parser's events come one by one; its objects are built by recursion without a bound."""
    depth = 0
    for event in _parser().parse(text):
        if isinstance(event, CollectionStartEvent):
            depth += 1
        elif isinstance(event, CollectionEndEvent):
            depth -= 1
        if depth > MAX_DEPTH:
            raise InputError(f"{path}:{event.start_mark.line + 1}: {TOO_DEEP}")


def _check_values(path: Path, content: object) -> None:
    count, todo = 0, [((), content)]
    while todo:
        keys, value = todo.pop()
        count += 1
        if len(keys) > MAX_DEPTH:  # an alias in what it stands for
            raise _refusal(path, keys[:3], TOO_DEEP)
        if count > MAX_VALUES:
            found = f"found more than {MAX_VALUES} values, those that aliases repeat included"
            raise InputError(f"{path}: {found}; expected fewer")
        match value:
            case dict():
                for key in value:
                    if not isinstance(key, str):
                        found = f"found the key {_cut(key)} ({type(key).__name__})"
                        raise _refusal(path, keys, f"{found}; expected text, in quotes if need be")
                todo += [((*keys, key), item) for key, item in reversed(value.items())]
            case list():
                todo += [((*keys, str(index)), item) for index, item in enumerate(value)][::-1]
            case int() if abs(value) >= MAX_INTEGER:
                found = f"found an integer of {value.bit_length()} bits"
                raise _refusal(path, keys, f"{found}; expected at most 64")
            case str() | int() | float() | None:
                pass
            case _:
                found = f"found the {type(value).__name__} {_cut(value)}"
                expected = "expected text, in quotes if need be, a number, a list or keys"
                raise _refusal(path, keys, f"{found}; {expected}")


def _refusal(path: Path, keys: tuple[str, ...], message: str) -> InputError:
    where = f"{'.'.join(keys)}: " if keys else ""
    return InputError(f"{path}: {where}{message}")


def _cut(value: object) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:40]}... ({len(text)} characters)"
