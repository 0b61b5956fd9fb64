"""Conversion of YAML along a schema: source text of strings, and places in errors."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar

import msgspec
import pytest

from exporter.config.strict_yaml import ConfigError, parse_config, read_text


class Inner(msgspec.Struct, frozen=True, kw_only=True):
    UNSUPPORTED_KEYS: ClassVar[dict[str, str]] = {"gone": "not supported here; leave it out"}

    text: str = ""
    texts: tuple[str, ...] = ()
    optional: str | None = None
    labels: dict[str, str] = {}
    number: Annotated[int, msgspec.Meta(ge=1)] = 1

    def __post_init__(self) -> None:
        if self.text == "refused":
            raise ValueError("text: refused by the schema")


class Document(msgspec.Struct, frozen=True, kw_only=True):
    text: str = ""
    number: int = 0
    fraction: float = 0.0
    flag: bool = False
    labels: dict[str, str] = {}
    inner: Inner = Inner()
    items: tuple[Inner, ...] = ()
    groups: dict[str, dict[str, Inner]] = {}
    lists: dict[str, tuple[int, ...]] | None = None


TAG_ERROR = "could not determine a constructor for the tag"
MERGE_ERROR = (
    "while constructing a mapping, expected a mapping or list of mappings for merging, but found scalar"
)


def parse(text: str) -> Document:
    return parse_config(text, "file.yml", Document)


def error_of(text: str) -> str:
    with pytest.raises(ConfigError) as error:
        parse(text)
    return str(error.value).removeprefix("file.yml: ")


# As gopkg.in/yaml.v2 and v3 decode into a Go string: the source text of any scalar but null.
SCALARS = [
    "1234", "-5", "+5", "010", "0o10", "1_000", "0x1F", "0b101", "18446744073709551616", "1:30",
    "1e3", "1.50", ".5", "1.", ".inf", "-.INF", ".NaN",
    "true", "False", "yes", "NO", "on", "off", "y",
    "2024-12-31", "2024-13-31", "2001-12-14t21:59:43.10-05:00",
    "=", "text", "a b", "nulls",
]  # fmt: skip


@pytest.mark.parametrize("scalar", SCALARS)
def test_scalar_is_a_string_with_its_source_text(scalar: str) -> None:
    document = parse(f"""
text: {scalar}
labels: {{label: {scalar}}}
inner: {{text: {scalar}, texts: [{scalar}, {scalar}], optional: {scalar}}}
""")
    assert document.text == scalar
    assert document.labels == {"label": scalar}
    assert document.inner == Inner(text=scalar, texts=(scalar, scalar), optional=scalar)


@pytest.mark.parametrize("scalar", SCALARS)
def test_scalar_key_is_a_string_with_its_source_text(scalar: str) -> None:
    assert parse(f"labels:\n  ? {scalar}\n  : value\n").labels == {scalar: "value"}


@pytest.mark.parametrize(
    ("node", "value"),
    [
        ("'010'", "010"),
        ('"0x1F"', "0x1F"),
        ("!!str 010", "010"),
        ("!!int '010'", "010"),
        ("''", ""),
        ("'~'", "~"),
    ],
)
def test_quoted_or_tagged_scalar_is_a_string(node: str, value: str) -> None:
    assert parse(f"text: {node}").text == value


@pytest.mark.parametrize("null", ["", "~", "null", "Null", "NULL", "!!null ''"])
def test_null_is_not_a_string(null: str) -> None:
    assert error_of(f"labels: {{a: {null}}}") == "labels.a: Expected `str`, got `null`"
    assert error_of(f"inner: {{text: {null}}}") == "inner.text: Expected `str`, got `null`"
    assert parse(f"inner: {{optional: {null}}}").inner.optional is None


@pytest.mark.parametrize("null", ["", "~", "null"])
def test_null_at_the_top_level_is_the_default(null: str) -> None:
    assert parse(null) == Document()
    assert parse(f"text: {null}\nlabels: {null}\nitems: {null}\n") == Document()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("number: 010", 8),
        ("number: 1_000", 1000),
        ("number: 0x1F", 31),
        ("fraction: 1.5", 1.5),
        ("flag: on", True),
    ],
)
def test_number_and_boolean_fields_are_parsed(text: str, value: object) -> None:
    assert getattr(parse(text), text.partition(":")[0]) == value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        # Every kind of mapping names its key.
        ("labels: {alice: []}", "labels.alice: Expected `str`, got `array`"),
        ("labels: {alice: ok, bob: {}}", "labels.bob: Expected `str`, got `object`"),
        ("labels: {123: []}", "labels.123: Expected `str`, got `array`"),
        ("labels: {X-Frame-Options: []}", "labels.X-Frame-Options: Expected `str`, got `array`"),
        ("labels: {'a b': []}", "labels.'a b': Expected `str`, got `array`"),
        ('labels: {"a\\nb": []}', "labels.'a\\nb': Expected `str`, got `array`"),
        ("labels: {'': []}", "labels.'': Expected `str`, got `array`"),
        ("labels: [a]", "labels: Expected `object`, got `array`"),
        ("labels: a", "labels: Expected `object`, got `str`"),
        ("inner: {labels: {alice: []}}", "inner.labels.alice: Expected `str`, got `array`"),
        ("items: [{}, {labels: {alice: []}}]", "items[1].labels.alice: Expected `str`, got `array`"),
        ("items: [{}, {texts: [a, []]}]", "items[1].texts[1]: Expected `str`, got `array`"),
        ("items: [{number: x}]", "items[0].number: Expected `int`, got `str`"),
        ("items: [{number: 0}]", "items[0].number: Expected `int` >= 1"),
        ("items: {}", "items: Expected `array`, got `object`"),
        ("items: [1]", "items[0]: Expected `object`, got `int`"),
        ("groups: {a: {b: {number: x}}}", "groups.a.b.number: Expected `int`, got `str`"),
        ("groups: {a: {b: 1}}", "groups.a.b: Expected `object`, got `int`"),
        ("groups: {a: {b: {gone: 1}}}", "groups.a.b.gone: not supported here; leave it out"),
        ("groups: {a: {b: {text: refused}}}", "groups.a.b.text: refused by the schema"),
        ("lists: {a: [1, 2, x]}", "lists.a[2]: Expected `int`, got `str`"),
        ("lists: {a: 1}", "lists.a: Expected `array`, got `int`"),
        ("lists: [a]", "lists: Expected `object | null`, got `array`"),
        ("inner: {gone: 1}", "inner.gone: not supported here; leave it out"),
        ("inner: {1: 1}", "inner.1: unknown key (known: labels, number, optional, text, texts)"),
        ("inner: {text: refused}", "inner.text: refused by the schema"),
        ("number: []", "number: Expected `int`, got `array`"),
        ("number: '1'", "number: Expected `int`, got `str`"),
        ("number: true", "number: Expected `int`, got `bool`"),
        ("text: !!binary aGk=", "text: Expected `str`, got `bytes`"),
        ("labels: {a: !secret b}", f"line 1, column 13: {TAG_ERROR} '!secret'"),
        ("labels: !secret {a: b}", f"line 1, column 9: {TAG_ERROR} '!secret'"),
        ("items: !secret [{}]", f"line 1, column 8: {TAG_ERROR} '!secret'"),
        ("number: !secret {}", f"line 1, column 9: {TAG_ERROR} '!secret'"),
        ("labels: !!timestamp {}", f"line 1, column 9: {TAG_ERROR} 'tag:yaml.org,2002:timestamp'"),
        ("items: !!seq a", "line 1, column 8: expected a sequence node, but found scalar"),
        ("labels: !!map a", "line 1, column 9: expected a mapping node, but found scalar"),
        ("labels: {? [a] : b}", "line 1, column 12: every key must be a string"),
        ("labels: {~: b}", "line 1, column 10: every key must be a string"),
        ("labels: {a: b, 'a': c}", "line 1, column 16: a: duplicate key, first defined on line 1"),
        ("labels: {<<: a}", f"line 1, column 14: {MERGE_ERROR}"),
    ],
)  # fmt: skip
def test_error_names_the_place(text: str, message: str) -> None:
    assert error_of(text) == message


def test_merged_mapping_names_the_place_of_the_merging_one() -> None:
    text = "items:\n  - &a {number: 2, labels: {x: y}}\n  - {<<: *a, text: b}\n"
    assert parse(text).items == (
        Inner(number=2, labels={"x": "y"}),
        Inner(number=2, labels={"x": "y"}, text="b"),
    )
    overridden = "items:\n  - &a {number: 2}\n  - {<<: *a, number: x}\n"
    assert error_of(overridden) == "items[1].number: Expected `int`, got `str`"


def test_alias_is_converted_by_the_type_of_each_place() -> None:
    document = parse("number: &n 010\ntext: *n\nlabels: {a: *n}\n")
    assert (document.number, document.text, document.labels) == (8, "010", {"a": "010"})


def test_recursive_alias_is_refused() -> None:
    assert error_of("items: &a [*a]") == "items[0]: Expected `object`, got `array`"
    assert (
        error_of("groups: &a {b: *a}")
        == "groups.b.b.b: unknown key (known: labels, number, optional, text, texts)"
    )


def test_values_are_not_shared_between_documents() -> None:
    first, second = parse(""), parse("")
    first.labels["a"] = "b"
    assert second.labels == {}


def test_error_of_msgspec_is_passed_on_whatever_its_wording(monkeypatch: pytest.MonkeyPatch) -> None:
    def convert(_value: object, _hint: Any) -> Any:
        raise msgspec.ValidationError("other words")

    monkeypatch.setattr(msgspec, "convert", convert)
    assert error_of("groups: {a: {b: {number: x}}}") == "groups.a.b.number: other words"


def test_invalid_utf_8_names_the_line(tmp_path: Any) -> None:
    file = tmp_path / "file.yml"
    file.write_bytes(b"a\nb\xff\n")
    with pytest.raises(ConfigError, match="line 2: not valid UTF-8"):
        read_text(str(file))


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_file_in_utf16_is_refused_with_the_reason(tmp_path: Path, encoding: str) -> None:
    # As PowerShell 5 writes with `>`.
    file = tmp_path / "config.yml"
    file.write_bytes("\ufefftext: x\r\n".encode(encoding))
    with pytest.raises(ConfigError, match=r"config\.yml: is UTF-16, save it as UTF-8"):
        read_text(str(file))
