r"""Go's regular expressions, matched by RE2: linear time in the length of the text, and Go's syntax.

Go's package regexp is a port of RE2. Differences that are left (regexp/syntax/parse.go, re2/parse.cc):
refused are the Unicode class aliases of Go 1.25 (`\p{Letter}`) and patterns of more than about 80,000
instructions (`\pL{100}`); accepted, though not by Go, are groups nested more than 1,000 deep and repeat
counts of ten digits, which are literal text here; `\B` also matches inside a character beyond ASCII.
"""

from __future__ import annotations

import re
from typing import Final

_MAX_MEMORY_BYTES: Final = 2 << 20
"""Limit of a pattern's program and cached DFA states. RE2's default is 8 MiB, of which command lines made for
it filled 2.4 MiB a pattern, and took 53 ms instead of 30 ms for 128 KiB."""

_SURROGATES: Final = re.compile("[\ud800-\udfff]")
# Quoted text and character classes are matched in order to be skipped.
_TOKEN: Final = re.compile(
    r"""\\Q.*?(?:\\E|\Z) | \[\^?\]?(?:\[:\^?\w+:\]|\\.|[^\]\\])*\]
        | (?P<any_byte>\\C) | \\. | (?P<group>\((?:\?P?<(?P<name>[^>]+)>|(?!\?)))""",
    re.VERBOSE | re.DOTALL,
)


class PatternError(ValueError):
    """A pattern that is not in Go's syntax: RE2's message."""


class GoRegex:
    """A compiled pattern. Raises PatternError."""

    def __init__(self, pattern: str) -> None:
        import re2  # type: ignore[import-untyped]  # ships no types; imported here as it costs 2.9 MiB

        options = re2.Options()
        options.log_errors = False
        options.max_mem = _MAX_MEMORY_BYTES
        try:
            self._regex = re2.compile(pattern.encode(), options)  # bytes: no offsets have to be converted
        except UnicodeEncodeError:
            raise PatternError("invalid UTF-8") from None
        except re2.error as error:
            raise PatternError(error.args[0].decode("utf-8", "replace")) from None
        finally:
            re2.purge()  # else patterns of earlier configurations stay in its cache, with their DFA states
        self._group_names = _group_names(pattern)

    @property
    def group_names(self) -> frozenset[str]:
        """Names of the capturing groups."""
        return frozenset(filter(None, self._group_names))

    def search(self, text: bytes) -> dict[str, str] | None:
        """Return the text of each named group in the leftmost match, or None without a match.

        A group without a match is empty. Of several groups with one name the last one counts.
        text: from `encode()`.
        """
        match = self._regex.search(text)
        if match is None:
            return None
        groups = enumerate(self._group_names, start=1)
        return {name: (match[number] or b"").decode() for number, name in groups if name}


def encode_text(text: str) -> bytes:
    """Return text for `GoRegex.search()`. Bytes that are no UTF-8 (surrogates) become U+FFFD, as in Go."""
    return _SURROGATES.sub("\N{REPLACEMENT CHARACTER}", text).encode()


def _group_names(pattern: str) -> list[str | None]:
    r"""Return the name of each capturing group, from the first. RE2's own table has only the first of a name.

    pattern: valid for RE2. Raises PatternError for what RE2 accepts and Go refuses: `\C`, names beyond ASCII.
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
