"""Strict reading of YAML files into typed values; every error names the place in the file.

An unknown key, a duplicate key, a value of the wrong type or one that cannot be used is an error: otherwise
the setting would be silently ignored.

The YAML nodes are converted along the schema, value by value. The place of an error is therefore known here,
and msgspec's message for a single value is passed on unchanged.
"""

from __future__ import annotations

import codecs
import re
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
import yaml
from yaml.constructor import ConstructorError
from yaml.reader import ReaderError

try:
    from yaml import CSafeLoader as SafeLoader
except ImportError:  # PyYAML built without libyaml: slower, and its messages are worded differently.
    from yaml import SafeLoader  # type: ignore[assignment]  # the stubs have no common base class

Schema = TypeVar("Schema", bound=msgspec.Struct)

_TAG: Final = "tag:yaml.org,2002:"
_NULL: Final = _TAG + "null"
_COLLECTION_TAGS: Final = (_TAG + "map", _TAG + "seq")
_TEXT_TAGS: Final = {_TAG + name for name in ("bool", "float", "int", "merge", "str", "timestamp", "value")}
"""Tags of scalars that are accepted as a string, with their source text: `name: 010` is the string "010", as
in gopkg.in/yaml (decoder.scalar in decode.go). Excluded are null, and binary data, which need decoding."""
_PLAIN_KEY: Final = re.compile(r"[\w.@/-]+")


class ConfigError(Exception):
    """Invalid or unreadable configuration file: `FILE: PLACE: PROBLEM`."""


def read_text(path: str) -> str:
    """Return the text of the file at `path`. Raises ConfigError."""
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        # As PowerShell 5 writes with `>` and Out-File.
        raise ConfigError(f"{path}: is UTF-16, save it as UTF-8")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}: line {line}: not valid UTF-8") from None


def parse_config(text: str, filename: str, schema: type[Schema]) -> Schema:
    """Return the configuration in `text`, of a file named `filename`. Raises ConfigError.

    schema: a struct whose fields all have defaults. Their types: structs, `dict[str, X]`, `tuple[X, ...]`,
    `X | None`, str, and what msgspec converts from a scalar. __post_init__ raises ValueError(`KEY: PROBLEM`).
    UNSUPPORTED_KEYS, a class variable, maps keys that other programs know to the reason why they are refused.

    An empty file, and a top-level key without a value (everything below it is commented out), mean the
    defaults.
    """
    try:
        return _parse(text, filename, schema)
    except yaml.MarkedYAMLError as error:
        problem = _describe_yaml_error(error)
    except ReaderError as error:
        problem = _describe_forbidden_character(text, chr(error.character))
    raise ConfigError(f"{filename}: {problem}")


def format_key(key: str) -> str:
    """Return a key for an error message, quoted and escaped where it could be misread."""
    return key if _PLAIN_KEY.fullmatch(key) else repr(key)


def _parse(text: str, filename: str, schema: type[Schema]) -> Schema:
    loader = SafeLoader(text)
    try:
        document = loader.get_single_node()
        if document is None or document.tag == _NULL:
            return schema()
        _reject_duplicate_keys(document)
        config: Schema = _Converter(loader, filename).convert(document, schema, "")
        return config
    finally:
        loader.dispose()


def _reject_duplicate_keys(document: yaml.Node) -> None:
    """Raise ConstructorError for a duplicate key, of which PyYAML would use the last value.

    Must be called before the conversion, which expands merge keys (`<<`) in place.
    """
    pending, visited = [document], set[int]()
    while pending:
        node = pending.pop()
        if id(node) in visited:  # The node has an alias.
            continue
        visited.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            pending += node.value
        if isinstance(node, yaml.MappingNode):
            _reject_duplicate_key([key for key, _ in node.value])
            pending += [value for _, value in node.value]


def _reject_duplicate_key(keys: list[yaml.Node]) -> None:
    first_by_key: dict[str, yaml.Node] = {}
    for key in keys:
        if isinstance(key, yaml.ScalarNode) and first_by_key.setdefault(key.value, key) is not key:
            line = first_by_key[key.value].start_mark.line + 1
            problem = f"{format_key(key.value)}: duplicate key, first defined on line {line}"
            raise ConstructorError(None, None, problem, key.start_mark)


class _Converter:
    """Converts YAML nodes to the types of a schema. Errors name the place in the file."""

    def __init__(self, loader: SafeLoader, filename: str) -> None:
        self._loader = loader
        self._filename = filename

    def convert(self, node: yaml.Node, hint: Any, path: str) -> Any:
        """Return the value of a node. Raises ConfigError and yaml.MarkedYAMLError.

        hint: its type. path: its place in the file, such as `process_names[0].comm`; empty for the document.
        """
        target = _without_none(hint)
        origin, arguments = typing.get_origin(target), typing.get_args(target)
        if isinstance(node, yaml.CollectionNode) and node.tag not in _COLLECTION_TAGS:
            problem = f"could not determine a constructor for the tag {node.tag!r}"
            raise ConstructorError(None, None, problem, node.start_mark)
        if isinstance(node, yaml.MappingNode):
            if isinstance(target, type) and issubclass(target, msgspec.Struct):
                return self._convert_struct(node, target, path)
            if origin is dict:
                entries = self._read_entries(node).items()
                return {key: self.convert(value, arguments[1], _join(path, key)) for key, value in entries}
        elif isinstance(node, yaml.SequenceNode):
            if origin is tuple:
                items = enumerate(node.value)
                return tuple(self.convert(item, arguments[0], f"{path}[{index}]") for index, item in items)
        elif target is str and node.tag in _TEXT_TAGS:
            return node.value
        return self._convert_leaf(node, hint, path)

    def _convert_struct(
        self, node: yaml.MappingNode, schema: type[msgspec.Struct], path: str
    ) -> msgspec.Struct:
        hints = typing.get_type_hints(schema, include_extras=True)
        values = {}
        for key, value in self._read_entries(node).items():
            if key not in schema.__struct_fields__:
                raise self._error(_join(path, key), _describe_unknown_key(key, schema))
            if path or value.tag != _NULL:
                values[key] = self.convert(value, hints[key], _join(path, key))
        try:
            return schema(**values)
        except ValueError as error:
            raise self._error("", f"{path}.{error}" if path else str(error)) from None

    def _convert_leaf(self, node: yaml.Node, hint: Any, path: str) -> Any:
        """Return the value of a scalar; raise ConfigError for a list or mapping where none is expected."""
        try:
            return msgspec.convert(self._construct(node), hint)
        except msgspec.ValidationError as error:
            raise self._error(path, str(error)) from None

    def _construct(self, node: yaml.Node) -> Any:
        """Return PyYAML's value of a scalar; for a collection an empty one, as only its type matters."""
        if isinstance(node, yaml.CollectionNode):
            return {} if isinstance(node, yaml.MappingNode) else []
        try:
            return self._loader.construct_object(node, deep=True)
        except (AttributeError, IndexError, KeyError, ValueError):  # Such as 2024-13-01.
            type_name = node.tag.removeprefix(_TAG)
            raise ConstructorError(
                None, None, f"{node.value} is not a valid {type_name}", node.start_mark
            ) from None

    def _read_entries(self, node: yaml.MappingNode) -> dict[str, yaml.Node]:
        """Return key -> value node of a mapping, with merge keys (`<<`) expanded."""
        self._loader.flatten_mapping(node)
        return {_read_key(key): value for key, value in node.value}

    def _error(self, path: str, problem: str) -> ConfigError:
        return ConfigError(": ".join(filter(None, (self._filename, path, problem))))


def _without_none(hint: Any) -> Any:
    """Return `X` for `X | None`, and any other type unchanged."""
    if typing.get_origin(hint) not in (typing.Union, types.UnionType):
        return hint
    (target,) = (argument for argument in typing.get_args(hint) if argument is not types.NoneType)
    return target


def _read_key(node: yaml.Node) -> str:
    if isinstance(node, yaml.ScalarNode) and node.tag in _TEXT_TAGS:
        return str(node.value)
    raise ConstructorError(None, None, "every key must be a string", node.start_mark)


def _join(path: str, key: str) -> str:
    return f"{path}.{format_key(key)}" if path else format_key(key)


def _describe_unknown_key(key: str, schema: type[msgspec.Struct]) -> str:
    unsupported: Mapping[str, str] = getattr(schema, "UNSUPPORTED_KEYS", {})
    return unsupported.get(key) or f"unknown key (known: {', '.join(sorted(schema.__struct_fields__))})"


def _describe_yaml_error(error: yaml.MarkedYAMLError) -> str:
    problem = ", ".join(filter(None, (error.context, error.problem)))
    mark = error.problem_mark
    return f"line {mark.line + 1}, column {mark.column + 1}: {problem}" if mark else problem


def _describe_forbidden_character(text: str, character: str) -> str:
    before, _, _ = text.partition(character)
    line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
    return f"line {line}, column {column}: character U+{ord(character):04X} is not allowed"
