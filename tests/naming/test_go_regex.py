"""Go's regular expressions: every expected outcome is Go's (compared with Go 1.27), not Python's."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.naming.go_regex import GoRegex, PatternError, encode_text

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
    # Within brackets these are text.
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
    (r"\Q\n\E", r"\n", r"\n"),
    (r"a\Q\E+", "aa", "aa"),
    # Flags at any position apply to the end of the enclosing group, alternatives included.
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
    # Unicode classes.
    (r"\pL+", "1é\N{GREEK SMALL LETTER ALPHA}1", "é\N{GREEK SMALL LETTER ALPHA}"),
    (r"\p{Greek}", "é\N{GREEK SMALL LETTER ALPHA}", "\N{GREEK SMALL LETTER ALPHA}"),
    (r"\PN+", "1a٣", "a"),
    (r"[\p{^Latin}]", "a\N{GREEK SMALL LETTER ALPHA}", "\N{GREEK SMALL LETTER ALPHA}"),
    (r"(?i)\p{Lu}", "a", "a"),
    # Python folds these differently: the dotted and the dotless i have no simple folding.
    ("(?i)i", "\u0130\u0131", None),
    ("(?i)k", "\u212a", "\u212a"),
    # Anchors can be repeated.
    ("^*a", "ba", "a"),
    (r"(?:\b)+a", "a", "a"),
    # Leftmost-first, not leftmost-longest.
    ("a|ab", "ab", "a"),
    ("(a+)(b+)?", "aab", "aab"),
    ("a\x00b", "a\x00b", "a\x00b"),
]

REFUSED = [
    ("(abc", "missing ): (abc"),
    ("a)b", "unexpected ): a)b"),
    ("x[abc", "missing ]: [abc"),
    ("[]", "missing ]: []"),
    ("[z-a]", "invalid character class range: z-a"),
    (r"[a-\d]", r"invalid escape sequence: \d"),
    ("[[:letter:]]", "invalid character class range: [:letter:]"),
    ("ab\\", "trailing \\"),
    ("*.log", "no argument for repetition operator: *"),
    ("a|+", "no argument for repetition operator: +"),
    ("a**", "bad repetition operator: **"),
    ("a*+", "bad repetition operator: *+"),
    ("a{2}{3}", "bad repetition operator: {2}{3}"),
    ("a{1001}", "invalid repetition size: {1001}"),
    ("a{3,2}", "invalid repetition size: {3,2}"),
    ("(a{1000}){1000}", "invalid repetition size: {1000}"),
    ("(?P<a-b>x)", "invalid named capture group: (?P<a-b>"),
    ("(?P<a", "invalid named capture group: (?P<a"),
    ("a(?=b)", "invalid perl operator: (?="),
    ("(?<!a)b", "invalid perl operator: (?<!"),
    ("(?>a)", "invalid perl operator: (?>"),
    ("(?x)a", "invalid perl operator: (?x"),
    (r"(a)\1", r"invalid escape sequence: \1"),
    (r"a\Z", r"invalid escape sequence: \Z"),
    (r"[\b]", r"invalid escape sequence: \b"),
    (r"\u00e9", r"invalid escape sequence: \u"),
    (r"\p{Nonsense}", r"invalid character class range: \p{Nonsense}"),
    ("a\ud800", "invalid UTF-8"),
    # RE2 accepts these, Go does not.
    (r"a\C", r"invalid escape sequence: \C"),
    (r"\\\C", r"invalid escape sequence: \C"),
    ("(?<é>x)", "invalid named capture group: (?<é>"),
    ("(?P<e\u0301>x)", "invalid named capture group: (?P<e\u0301>"),
    # Go accepts this one.
    (r"\pL{1000}", "pattern too large - compile failed"),
]

LOOPING: Final = r"^java (-\S+ ?)+ (?P<main>[\w.]+)$"
"""A backtracking matcher takes time exponential in the number of words."""

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


def match_of(pattern: str, text: str) -> str | None:
    """Return the whole match."""
    groups = GoRegex(f"(?P<whole>{pattern})").search(encode_text(text))
    return None if groups is None else groups["whole"]


@pytest.mark.parametrize(("pattern", "text", "expected"), FOUND)
def test_match_is_the_one_go_finds(pattern: str, text: str, expected: str | None) -> None:
    assert expected == match_of(pattern, text)


@pytest.mark.parametrize(("pattern", "message"), REFUSED, ids=lambda value: ascii(value[:20]))
def test_pattern_that_go_refuses_is_an_error(pattern: str, message: str) -> None:
    with pytest.raises(PatternError) as error:
        GoRegex(pattern)
    assert message == str(error.value)


@pytest.mark.parametrize("pattern", [r"\\C", r"\Q\C\E", r"\Q\C", r"(?P<a>\\C)"])
def test_backslash_that_is_text_before_c_is_no_escape(pattern: str) -> None:
    assert GoRegex(pattern).search(rb"\C") is not None


@pytest.mark.parametrize("opening", ["(?P<port>", "(?<port>"])
def test_named_groups_of_both_syntaxes_are_captured(opening: str) -> None:
    regex = GoRegex(rf"-(p) {opening}\d+)(?: (?P<rest>.+))?")
    assert {"port": "80", "rest": ""} == regex.search(b"-p 80")
    assert {"port", "rest"} == regex.group_names


def test_last_group_of_a_repeated_name_counts() -> None:
    assert {"n": "b"} == GoRegex("(?P<n>a)(?P<n>b)").search(b"ab")
    assert {"n": ""} == GoRegex("(?P<n>a)|(?P<n>b)").search(b"a")


def test_parentheses_that_are_text_are_no_groups() -> None:
    regex = GoRegex(r"\((?:[(]|[^)(?P<x>]|[])(]|[[:alpha:](])+\Q(?P<y>\E(?i)(?P<1z>\d)(\))")
    assert {"1z": "7"} == regex.search(b"((](a(?P<y>7)")


def test_invalid_bytes_match_as_replacement_characters() -> None:
    text = encode_text(b"a\xff\xe2\x82b\xed\xa0\x80c".decode("utf-8", "surrogateescape"))
    assert "a\ufffd\ufffd\ufffdb\ufffd\ufffd\ufffdc".encode() == text
    assert {"all": "\ufffd\ufffd\ufffd"} == GoRegex(r"a(?P<all>...)b").search(text)
    assert GoRegex(r"\x{fffd}").search(text) is not None


def test_match_time_is_linear_in_the_text() -> None:
    """The pattern once stopped scrapes for good at 40 words."""
    regex = GoRegex(LOOPING)
    assert regex.search(encode_text("java " + "-Da-b-c " * 40 + "!")) is None
    assert {"main": "shop.Main"} == regex.search(encode_text("java" + " -Da-b-c" * 8000 + " shop.Main"))


def test_other_threads_run_during_a_match() -> None:
    text = encode_text("abc " * 500_000)
    regex = GoRegex(r"(?P<words>(\S{1,100} ?)+)$")
    started = threading.Event()
    matching = threading.Thread(target=lambda: (started.set(), regex.search(text)))
    matching.start()
    started.wait()
    turns = 0
    while matching.is_alive():
        turns += 1
    assert turns > 100


def test_states_cached_for_hostile_text_are_bounded() -> None:
    """Ten patterns and a text made for 2^18 states: 33 MB with RE2's own limit, 8 MB with this one."""
    program = """
import random
import psutil
from exporter.naming.go_regex import GoRegex
patterns = [GoRegex(f"[ab]*a[ab]{{18}}q|{number}") for number in range(10)]
text = "".join(random.Random(1).choices("ab", k=131072)).encode()
# Not ru_maxrss, which starts with that of the parent process.
before = psutil.Process().memory_info().rss
assert not any(pattern.search(text) for pattern in patterns)
print(psutil.Process().memory_info().rss - before)
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert int(run.stdout) < 12 << 20
    assert run.stderr == ""


def test_re2_is_imported_only_for_patterns() -> None:
    program = """
import sys
import exporter.cli
from exporter.config.exporter_config import parse_exporter_config as parse
def imported(text):
    parse(text, "config.yml").namer
    return any(name.partition(".")[0] in ("re2", "_re2") for name in sys.modules)
assert not imported("{}")
assert not imported("process_names: [{comm: [java], name: x}]")
assert imported("process_names: [{cmdline: [java], name: x}]")
"""
    subprocess.run([sys.executable, "-c", program], check=True)


@given(st.text())
def test_quoted_text_matches_itself(text: str) -> None:
    quoted = text.replace(r"\E", "")
    assert GoRegex(rf"\A\Q{quoted}\E\z").search(encode_text(quoted)) is not None


@given(st.one_of(st.text(), st.lists(st.sampled_from(TOKENS)).map("".join)), st.text(max_size=20))
def test_every_pattern_is_compiled_or_an_error(pattern: str, text: str) -> None:
    with contextlib.suppress(PatternError):
        regex = GoRegex(pattern)
        groups = regex.search(encode_text(text))
        assert groups is None or groups.keys() == regex.group_names
