"""Strict reading of YAML files into typed values: what is wrong is an error that names the place.

Strict on purpose: an unknown key, a key given twice, a value of another type or one that cannot be followed
stops the start, since each of them would otherwise be a setting silently not in force.
"""

from __future__ import annotations

import re
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
import yaml
from yaml.constructor import ConstructorError
from yaml.reader import ReaderError

try:
    from yaml import CSafeLoader as SafeLoader
except ImportError:  # PyYAML built without libyaml: slower, and its messages are worded differently.
    from yaml import SafeLoader  # type: ignore[assignment]

Schema = TypeVar("Schema", bound=msgspec.Struct)

_UNKNOWN_KEY: Final = re.compile(
    r"Object contains unknown field `(?P<key>.*?)`(?: - at `\$\.(?P<path>.*)`)?", re.DOTALL
)
_WRONG_VALUE: Final = re.compile(
    r"Expected `(?P<expected>array|bool|int|object|str)(?: \| null)?`"
    r"(?: (?P<order>[<>])= (?P<bound>\d+))?(?:, got `(?P<got>\w+)`)?"
    r"(?: - at (?P<key>`key` in )?`\$\.?(?P<path>.*)`)?"
)
_REFUSED: Final = re.compile(r"(?P<problem>.*) - at `\$\.(?P<path>.*)`", re.DOTALL)
"""What a schema's own __post_init__ says: `KEY: PROBLEM`, and msgspec where."""
_KINDS: Final = {
    "array": "a list",
    "bool": "a boolean",
    "bytes": "binary data",
    "date": "a date",
    "datetime": "a date",
    "float": "a fractional number",
    "int": "an integer",
    "null": "nothing",
    "object": "a mapping",
    "str": "a string",
}
_QUOTABLE: Final = ("bool", "date", "datetime", "float", "int")


class ConfigError(Exception):
    """Why a file cannot be used: `FILE: PLACE: PROBLEM`."""


def read(path: str) -> str:
    """The text of the file at `path`. Raises ConfigError."""
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}: line {line}: not valid UTF-8") from None


def decode(text: str, filename: str, schema: type[Schema]) -> Schema:
    """The settings in `text`, of a file named `filename`. Raises ConfigError.

    A problem that the schema's __post_init__ finds is a ValueError that says `KEY: PROBLEM`. Its REFUSED has
    the keys that other programs know, and why this one does not.
    """
    try:
        return msgspec.convert(_settings(_read_yaml(text), schema), schema)
    except yaml.MarkedYAMLError as error:
        problem = _yaml_problem(error)
    except ReaderError as error:
        problem = _unreadable_character(text, chr(error.character))
    except msgspec.ValidationError as error:
        problem = _validation_problem(str(error), schema)
    raise ConfigError(f"{filename}: {problem}")


class _Loader(SafeLoader):
    """PyYAML's, except that a value it cannot read is an error with a place: `2024-13-01`."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (AttributeError, IndexError, KeyError, ValueError):
            kind = node.tag.rpartition(":")[2]
            raise ConstructorError(None, None, f"{node.value} is no {kind}", node.start_mark) from None


def _read_yaml(text: str) -> Any:
    loader = _Loader(text)
    try:
        document = loader.get_single_node()
        _refuse_repeated_keys(document)
        return None if document is None else loader.construct_document(document)
    finally:
        loader.dispose()


def _refuse_repeated_keys(document: yaml.Node | None) -> None:
    """PyYAML lets the last of them win. To be asked before it builds the values: that unfolds `<<`."""
    waiting, seen = [document], set[int]()
    while waiting:
        node = waiting.pop()
        if id(node) in seen:  # An alias.
            continue
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            waiting += node.value
        if isinstance(node, yaml.MappingNode):
            _refuse_repeated_key([key for key, _ in node.value])
            waiting += [value for _, value in node.value]


def _refuse_repeated_key(keys: list[yaml.Node]) -> None:
    first: dict[str, yaml.Node] = {}
    for key in keys:
        if isinstance(key, yaml.ScalarNode) and first.setdefault(key.value, key) is not key:
            problem = f"{key.value} given twice, first in line {first[key.value].start_mark.line + 1}"
            raise ConstructorError(None, None, problem, key.start_mark)


def _settings(document: Any, schema: type[msgspec.Struct]) -> Any:
    """An empty file, and a setting without a value (all below it commented out), mean the defaults."""
    if document is None:
        return {}
    if not isinstance(document, dict):
        return document
    known = schema.__struct_fields__
    return {key: value for key, value in document.items() if value is not None or key not in known}


def _yaml_problem(error: yaml.MarkedYAMLError) -> str:
    problem = ", ".join(filter(None, (error.context, error.problem)))
    mark = error.problem_mark
    return f"line {mark.line + 1}, column {mark.column + 1}: {problem}" if mark else problem


def _unreadable_character(text: str, character: str) -> str:
    before, _, _ = text.partition(character)
    line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
    return f"line {line}, column {column}: character U+{ord(character):04X} is not allowed"


def _validation_problem(message: str, schema: type[msgspec.Struct]) -> str:
    """Msgspec's message in the words of this file: its types, and paths without `$`."""
    if unknown := _UNKNOWN_KEY.fullmatch(message):
        within = unknown["path"] or ""
        known = _schema_at(within, schema)
        place = ".".join(filter(None, (within, unknown["key"] or "''")))
        if reason := getattr(known, "REFUSED", {}).get(unknown["key"]):
            return f"{place}: {reason}"
        return f"{place}: unknown key (known: {', '.join(sorted(known.__struct_fields__))})"
    if wrong := _WRONG_VALUE.fullmatch(message):
        place = f"{wrong['path']}: " if wrong["path"] else ""
        return place + ("every key must be a string" if wrong["key"] else _expectation(wrong))
    if refused := _REFUSED.fullmatch(message):
        return f"{refused['path']}.{refused['problem']}"
    return message


def _schema_at(path: str, schema: type[msgspec.Struct]) -> type[msgspec.Struct]:
    """The schema of what stands at `path`, such as `process_names[0]`."""
    for key in re.findall(r"(?:^|\.)(\w+)", path):
        schema = next(_schemas(typing.get_type_hints(schema)[key]))
    return schema


def _schemas(hint: Any) -> Iterator[type[msgspec.Struct]]:
    """Those within a type, such as `tuple[NameRule, ...]` or `Tls | None`."""
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        yield hint
    for argument in typing.get_args(hint):
        yield from _schemas(argument)


def _expectation(wrong: re.Match[str]) -> str:
    expected = f"expected {_KINDS[wrong['expected']]}"
    if wrong["bound"]:
        return f"{expected} of at {'least' if wrong['order'] == '>' else 'most'} {wrong['bound']}"
    quotable = wrong["expected"] == "str" and wrong["got"] in _QUOTABLE
    return (
        f"{expected}, got {_KINDS.get(wrong['got'], wrong['got'])}{' (put it in quotes)' if quotable else ''}"
    )
