r"""Go's regular expressions, matched by RE2: linear time in the length of the text, and Go's syntax.

Go's package regexp is a port of RE2. The remaining differences (regexp/syntax/parse.go, re2/parse.cc):

- Not accepted here are the Unicode class aliases of Go 1.25 (`\p{Letter}`) and patterns of more than about
  80,000 instructions (`\pL{100}`).
- Accepted only here are groups nested more than 1,000 deep, and repeat counts of ten digits, as literal text.
- `\B` also matches inside a non-ASCII character.
"""

from __future__ import annotations

import re
from typing import Final

_MAX_MEMORY_BYTES: Final = 2 << 20
"""Limit for a pattern's program and cached DFA states. With RE2's default of 8 MiB, hostile command lines of
128 KiB filled 2.4 MiB a pattern, and took 53 ms instead of 30 ms."""

_SURROGATES: Final = re.compile("[\ud800-\udfff]")
# Quoted text and character classes are matched so that parentheses in them are not taken for groups.
_TOKEN: Final = re.compile(
    r"""\\Q.*?(?:\\E|\Z) | \[\^?\]?(?:\[:\^?\w+:\]|\\.|[^\]\\])*\]
        | (?P<any_byte>\\C) | \\. | (?P<group>\((?:\?P?<(?P<name>[^>]+)>|(?!\?)))""",
    re.VERBOSE | re.DOTALL,
)


class PatternError(ValueError):
    """Pattern that is not in Go's syntax; the text is RE2's message."""


class GoRegex:
    """Compiled pattern. Raises PatternError."""

    def __init__(self, pattern: str) -> None:
        import re2  # type: ignore[import-untyped]  # ships no types; imported here because it takes 2.9 MiB

        options = re2.Options()
        options.log_errors = False
        options.max_mem = _MAX_MEMORY_BYTES
        try:
            self._regex = re2.compile(pattern.encode(), options)  # bytes: RE2 would convert offsets of str
        except UnicodeEncodeError:
            raise PatternError("invalid UTF-8") from None
        except re2.error as error:
            raise PatternError(error.args[0].decode("utf-8", "replace")) from None
        finally:
            re2.purge()  # its cache would keep the patterns of previous configurations, with their DFA states
        self._group_names = _group_names(pattern)

    @property
    def group_names(self) -> frozenset[str]:
        """Names of the capturing groups."""
        return frozenset(filter(None, self._group_names))

    def search(self, text: bytes) -> dict[str, str] | None:
        """Return the text of each named group in the leftmost match, or None without a match.

        A group without a match is empty. Of several groups with the same name the last one is returned.

        text: from encode_text().
        """
        match = self._regex.search(text)
        if match is None:
            return None
        groups = enumerate(self._group_names, start=1)
        return {name: (match[number] or b"").decode() for number, name in groups if name}


def encode_text(text: str) -> bytes:
    """Return text for GoRegex.search()."""
    return replace_surrogates(text).encode()


def replace_surrogates(text: str) -> str:
    """Return text with U+FFFD for bytes that are not UTF-8 (surrogates), as in Go."""
    return _SURROGATES.sub("\N{REPLACEMENT CHARACTER}", text)


def _group_names(pattern: str) -> list[str | None]:
    r"""Return the name of each capturing group, None for unnamed ones.

    RE2's own table has only the first group of each name.

    pattern: valid for RE2. Raises PatternError for what only RE2 accepts: `\C`, non-ASCII names.
    """
    names: list[str | None] = []
    for token in _TOKEN.finditer(pattern):
        if token["any_byte"]:
            raise PatternError(r"invalid escape sequence: \C")
        if token["group"]:
            if not (token["name"] or "").isascii():
                raise PatternError(f"invalid named capture group: {token['group']}")
            names.append(token["name"])
    return names
