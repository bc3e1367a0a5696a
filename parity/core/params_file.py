"""Edit params.yaml; comments stay where they are."""

import io
from collections.abc import Mapping

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import CommentMark
from ruamel.yaml.tokens import CommentToken

from parity.core.cli import InputError
from parity.core.files import new_file
from parity.core.params import PARAMS, load_params


def read_editable() -> CommentedMap:
    """Return the content of params.yaml with its comments."""
    return _yaml().load(PARAMS)


def write_edited(content: CommentedMap) -> None:
    """Write the content of params.yaml; raises InputError, and writes nothing, if it is invalid."""
    text = io.StringIO()
    _yaml().dump(content, text)
    with new_file(PARAMS) as partial:
        partial.write_text(text.getvalue(), encoding="utf-8")
        try:
            load_params(partial)
        except InputError as error:
            raise InputError(str(error).replace(str(partial), str(PARAMS))) from None


def set_keys(content: CommentedMap, values: Mapping[str, object]) -> None:
    """Set dotted keys, in the order given; those that are missing come last in their section."""
    for dotted, value in values.items():
        section, (*parents, last) = content, dotted.split(".")
        while parents and isinstance(section.get(parents[0]), CommentedMap):
            section = section[parents.pop(0)]
        first, *below = *parents, last
        for key in reversed(below):
            value = {key: value}
        _set(section, first, _with_places(value))


def _with_places(value: object) -> object:
    """A value whose parts have places for comments."""
    match value:
        case dict():
            return CommentedMap({key: _with_places(one) for key, one in value.items()})
        case [_, *_]:
            return CommentedSeq(value)
    return value


def _yaml() -> YAML:
    yaml = YAML()
    yaml.width = 4096  # wrap no long line
    yaml.preserve_quotes = True
    return yaml


def _set(section: CommentedMap, key: str, value: object) -> None:
    """Set a key of a section. The comment lines that follow the old value, or the end of the
    section, belong to what comes next, and then follow the new value."""
    if section.fa.flow_style():  # on one line
        section[key] = value
        return
    lines = _split_comment(section, key if key in section else list(section)[-1])
    section[key] = value
    if lines:
        holder, last = _last_leaf(section, key)
        own = _comment(holder, last)
        line, column = (own.value.rstrip("\n"), own.start_mark.column) if own else ("", 0)
        _put_comment(holder, last, f"{line}\n{lines}", column)


def _split_comment(section: CommentedMap, key: str) -> str:
    """Remove and return the comment lines after a value; a comment on the value's line stays."""
    holder, last = _last_leaf(section, key)
    if not (comment := _comment(holder, last)):
        return ""
    line, _, lines = comment.value.partition("\n")
    if isinstance(holder[last], CommentedMap | CommentedSeq):  # on one line: it has it twice
        holder[last].ca.comment = None
    _put_comment(holder, last, f"{line}\n" if line else "", comment.start_mark.column)
    return lines


def _last_leaf(section: CommentedMap, key: str) -> tuple[CommentedMap | CommentedSeq, str | int]:
    """Return where the last line of a value is: a section or list, and the key or index in it."""
    holder, last = section, key
    while isinstance(value := holder[last], CommentedMap | CommentedSeq):
        if not value or value.fa.flow_style():
            break
        holder, last = value, list(value)[-1] if isinstance(value, CommentedMap) else len(value) - 1
    return holder, last


def _comment(holder: CommentedMap | CommentedSeq, last: str | int) -> CommentToken | None:
    """The comment after a value, up to the next key."""
    return holder.ca.items.get(last, [None] * 4)[_slot(holder)]


def _put_comment(
    holder: CommentedMap | CommentedSeq, last: str | int, text: str, column: int
) -> None:
    tokens = holder.ca.items.setdefault(last, [None] * 4)
    tokens[_slot(holder)] = CommentToken(text, CommentMark(column), None) if text else None


def _slot(holder: CommentedMap | CommentedSeq) -> int:
    """Where ruamel.yaml keeps the comment after a value."""
    return 2 if isinstance(holder, CommentedMap) else 0
