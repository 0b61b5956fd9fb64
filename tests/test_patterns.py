"""Go's patterns: every row's outcome is what Go and RE2 make of it, not what Python would."""

from __future__ import annotations

import contextlib
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.analysis.patterns import PatternError, compile_pattern

FOUND = [
    # As in Python.
    ("b+", "abbc", "bb"),
    ("b+?", "abbc", "b"),
    ("b{1,2}", "abbbc", "bb"),
    ("a|b", "xb", "b"),
    ("(?:ab)+", "ababa", "abab"),
    ("", "abc", ""),
    ("a||b", "b", ""),
    ("^a", "ba", None),
    ("a.c", "a\nc", None),
    ("é+", "caféé", "éé"),
    # Anchors: `$` is the very end, however the text ends.
    ("a$", "a\n", None),
    (r"a\z", "a\n", None),
    (r"a\z", "ba", "a"),
    (r"\Aa", "ba", None),
    ("(?m)a$", "a\nb", "a"),
    ("(?m)^b", "a\nb", "b"),
    ("(?m)^b$", "a\nb\n", "b"),
    (r"(?m)\Ab", "a\nb", None),
    # Classes are ASCII.
    (r"\w+", "éab", "ab"),
    (r"\W", "aé", "é"),
    (r"\d", "٣3", "3"),
    (r"\D", "3٣", "٣"),
    (r"\s", "\v\u00a0", None),
    (r"\S", "\v", "\v"),
    (r"[\s]", "\v", None),
    (r"[^\S]", "\v ", " "),
    (r"[\W_]+", "aé_b", "é_"),
    (r"[\d-z]+", "1-z", "1-z"),
    (r"a\b", "aé", "a"),
    (r"é\B", "é", "é"),
    (r"\B", "", ""),
    (r"[[:alpha:]]+", "1ab1", "ab"),
    (r"[[:^alpha:]]+", "ab1éc", "1é"),
    (r"[^[:^alpha:]]+", "1ab1", "ab"),
    (r"[[:upper:][:digit:]_]+", "aA1_b", "A1_"),
    (r"[[:punct:]]+", "a[-]^b", "[-]^"),
    (r"[[:space:]]", "\v", "\v"),
    (r"[[:word:]-]+", " a-b ", "a-b"),
    # Brackets hold nothing that Python reads otherwise.
    ("[]a]+", "[]a", "]a"),
    ("[^]a]+", "]ab", "b"),
    ("[[a]+", "[[a", "[[a"),
    ("[a&&b]+", "&a&", "&a&"),
    ("[a||b]+", "|a|", "|a|"),
    ("[a~~b]+", "~a~", "~a~"),
    ("[+--]+", ",-+.", ",-+"),
    ("[a-]+", "-a", "-a"),
    ("[a-a]+", "baab", "aa"),
    (r"[\-\]]+", "-]", "-]"),
    ("[:alpha:]+", "b:al", ":al"),
    ("[^a]", "a\n", "\n"),
    # Braces that are no repeat are text.
    ("x{,2}", "xx{,2}", "x{,2}"),
    ("x{02}", "xx{02}", "x{02}"),
    ("x{", "x{", "x{"),
    ("x{a}", "x{a}", "x{a}"),
    # Escapes.
    (r"\x41\x{e9}\101\07", "AéA\a", "AéA\a"),
    (r"\a\f\t\n\r\v", "\a\f\t\n\r\v", "\a\f\t\n\r\v"),
    (r"\-\_\/\ \#", "-_/ #", "-_/ #"),
    (r"\Q.*[\E+", "a.*[[", ".*[["),
    (r"\Qa.b", "a.b", "a.b"),
    (r"\Q\n\E", r"\n", r"\n"),
    (r"a\Q\E+", "aa", "aa"),
    # Flags, wherever they stand: to the end of the group around them, alternatives included.
    ("(?i)FOO", "foo", "foo"),
    ("foo(?i)bar", "fooBAR", "fooBAR"),
    ("foo(?i)bar", "FOObar", None),
    ("(a(?i)b)c", "aBC", None),
    ("(a(?i)b)c", "aBc", "aBc"),
    ("(?:a(?i)b|c)d", "Cd", "Cd"),
    ("a(?i)b|c", "C", "C"),
    ("(?i:a)b", "AB", None),
    ("(?i)a(?-i)b", "AB", None),
    ("(?i)a(?-i:b)c", "AbC", "AbC"),
    ("(?i)É", "é", "é"),
    ("(?i)[a-c]+", "ABC", "ABC"),
    (r"(?i)[\W_]+", "ks_iSK", "_"),
    (r"(?i)[[:^upper:]]+", "aB1", "1"),
    (r"(?i)[[:lower:]]+", "1aB", "aB"),
    (r"(?i)\w", "\u017f", "\u017f"),
    ("(?s)a.c", "a\nc", "a\nc"),
    ("(?s:a.)b.", "a\nb\n", None),
    ("(?U)b+", "abbc", "b"),
    ("(?U)b+?", "abbc", "bb"),
    ("(?U)b{1,2}", "abbc", "b"),
    ("(?U:b+)c", "abbc", "bbc"),
    ("(?is-m)A.", "a\n", "a\n"),
    ("(?)a", "a", "a"),
    ("a(?i)*b", "aaB", "aaB"),
]

REFUSED = [
    ("(abc", "unterminated group at position 0"),
    ("--port=(a|(b)", "unterminated group at position 7"),
    ("a)b", "unmatched ) at position 1"),
    ("x[abc", "unterminated character class at position 1"),
    ("[]", "unterminated character class at position 0"),
    ("[^]", "unterminated character class at position 0"),
    ("[[:alpha:]", "unterminated character class at position 0"),
    ("[z-a]", "range z-a is the wrong way round at position 1"),
    (r"[a-\d]", r"\d cannot end a range at position 3"),
    ("[[:letter:]]", "unknown class [:letter:] at position 1"),
    ("[[:ALPHA:]]", "unknown class [:ALPHA:] at position 1"),
    ("ab\\", "trailing backslash at position 2"),
    ("*.log", "nothing to repeat at position 0"),
    ("a|+", "nothing to repeat at position 2"),
    ("(?i)*", "nothing to repeat at position 4"),
    ("(?:?)", "nothing to repeat at position 3"),
    ("a**", "repeat of a repeat at position 2"),
    ("a*+", "repeat of a repeat at position 2"),
    ("a{2}{3}", "repeat of a repeat at position 4"),
    ("a???", "repeat of a repeat at position 3"),
    ("^*", "an anchor cannot be repeated at position 1"),
    ("a{1001}", "more than 1000 repeats at position 1"),
    ("a{1,1001}", "more than 1000 repeats at position 1"),
    ("a{" + "9" * 5000 + "}", "more than 1000 repeats at position 1"),
    ("a{1," + "9" * 5000 + "}", "more than 1000 repeats at position 1"),
    ("a{3,2}", "repeat {3,2} is the wrong way round at position 1"),
    ("(?P<a>x)(?P<a>y)", "group name a used twice at position 12"),
    ("(?<1a>x)", "group name 1a begins with a digit at position 3"),
    ("(?P<a-b>x)", "bad group name at position 0"),
    ("(?<é>x)", "bad group name at position 0"),
    ("(?P<a", "bad group name at position 0"),
    ("a(?=b)", "(?= is not in Go's syntax at position 1"),
    ("a(?!b)", "(?! is not in Go's syntax at position 1"),
    ("(?<=a)b", "(?<= is not in Go's syntax at position 0"),
    ("(?<!a)b", "(?<! is not in Go's syntax at position 0"),
    ("(?>a)", "(?> is not in Go's syntax at position 0"),
    ("(?#a)", "(?# is not in Go's syntax at position 0"),
    ("(?x)a", "(?x is not in Go's syntax at position 0"),
    ("(?P<a>b)(?P=a)", "(?P is not in Go's syntax at position 8"),
    (r"(a)\1", r"\1 is not in Go's syntax at position 3"),
    (r"a\Z", r"\Z is not in Go's syntax at position 1"),
    (r"a\E", r"\E is not in Go's syntax at position 1"),
    (r"\C", r"\C is not in Go's syntax at position 0"),
    (r"[\b]", r"\b is not in Go's syntax at position 1"),
    (r"\u00e9", r"\u is not in Go's syntax at position 0"),
    (r"\xg1", r"\x is not in Go's syntax at position 0"),
    (r"\x{110000}", r"no such character \x{110000} at position 0"),
    (r"\pL", r"\p (a Unicode class) is not supported at position 0"),
    (r"[a\P{Greek}]", r"\P (a Unicode class) is not supported at position 2"),
    ("(" * 3000 + ")" * 3000, "groups nested too deeply at position 0"),
]

POSIX = ["alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower"]
POSIX += ["print", "punct", "space", "upper", "word", "xdigit"]
CLASSES = [(f"[[:{name}:]]", f"[[:^{name}:]]") for name in POSIX]
CLASSES += [(f"[{escape}]", f"[{escape.upper()}]") for escape in (r"\d", r"\s", r"\w")]
TURKISH = "İı"  # The difference that the module's docstring admits.

TOKENS = [
    "a",
    "K",
    "é",
    "-",
    "]",
    "{",
    "1",
    ",",
    "}",
    "^",
    "$",
    "|",
    "(",
    ")",
    "(?:",
    "(?i)",
    "(?-i:",
    "(?U)",
]
TOKENS += [
    "(?P<n>",
    "(?<m>",
    "[",
    "[^",
    "[:",
    ":]",
    "[:alpha:]",
    "[:^word:]",
    ".",
    "*",
    "+",
    "?",
    "{2}",
    "{1,}",
]
TOKENS += [
    "\\",
    r"\d",
    r"\W",
    r"\S",
    r"\b",
    r"\B",
    r"\z",
    r"\Q",
    r"\E",
    r"\x41",
    r"\x{",
    r"\1",
    r"\pN",
    "&&",
    "--",
]


@pytest.mark.parametrize(("pattern", "text", "found"), FOUND)
def test_finds_what_go_finds(pattern: str, text: str, found: str | None) -> None:
    match = compile_pattern(pattern).search(text)
    assert found == (match and match[0])


@pytest.mark.parametrize(("pattern", "message"), REFUSED, ids=lambda value: value[:20])
def test_refuses_with_the_place(pattern: str, message: str) -> None:
    with pytest.raises(PatternError) as error:
        compile_pattern(pattern)
    assert message == str(error.value)


@pytest.mark.parametrize("opening", ["(?P<port>", "(?<port>"])
def test_both_kinds_of_named_group(opening: str) -> None:
    match = compile_pattern(rf"-p {opening}\d+)(?: (?P<rest>.+))?").search("-p 80")
    assert match
    assert {"port": "80", "rest": None} == match.groupdict()


@pytest.mark.parametrize(("members", "others"), CLASSES)
@pytest.mark.parametrize("flags", ["", "(?i)"])
def test_a_class_and_its_inverse_share_no_character_and_miss_none(
    members: str, others: str, flags: str
) -> None:
    inside, outside = compile_pattern(flags + members), compile_pattern(flags + others)
    characters = [chr(code) for code in range(0x3000) if chr(code) not in TURKISH]
    assert [] == [char for char in characters if bool(inside.match(char)) == bool(outside.match(char))]


@given(st.text())
def test_quoted_text_means_itself(text: str) -> None:
    quoted = text.replace(r"\E", "")
    assert compile_pattern(rf"\A\Q{quoted}\E\z").search(quoted)


@given(st.one_of(st.text(), st.lists(st.sampled_from(TOKENS)).map("".join)))
def test_any_text_is_compiled_or_refused_and_python_warns_of_nothing(pattern: str) -> None:
    with warnings.catch_warnings(), contextlib.suppress(PatternError):
        warnings.simplefilter("error")
        compile_pattern(pattern)
