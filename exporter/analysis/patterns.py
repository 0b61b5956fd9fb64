r"""Go's regular expressions in terms of Python's: the same meaning, or a refusal that says why.

Files written for process-exporter hold Go's (RE2) patterns. Python accepts most of them as they are
and means something else by some: `$` before a last newline, `\w` beyond ASCII, `x{,3}`, `x*+`. So
nothing is passed through: every token is read as Go reads it (regexp/syntax) and written out again,
with the flags in force there, and what Go would not take is refused here too.

Refused though Go has it: Unicode classes (`\pL`), a group name used twice or beginning with a digit,
repeating an anchor. Known difference: `(?i)i` matches the Turkish dotless and dotted i too.

Unlike Go's, Python's matching backtracks: a repeat inside a repeat, such as `(a+)+$`, can take
exponential time on a command line made for it, however short. Callers bound the length of the text.
"""

from __future__ import annotations

import re
import sys
from typing import Final

_CLASSES: Final = {
    r"\d": "0-9",
    r"\s": r"\t\n\f\r ",
    r"\w": "0-9A-Za-z_",
    "[:alnum:]": "0-9A-Za-z",
    "[:alpha:]": "A-Za-z",
    "[:ascii:]": r"\x00-\x7f",
    "[:blank:]": r"\t ",
    "[:cntrl:]": r"\x00-\x1f\x7f",
    "[:digit:]": "0-9",
    "[:graph:]": "!-~",
    "[:lower:]": "a-z",
    "[:print:]": " -~",
    "[:punct:]": r"!-/:-@\[-`{-~",
    "[:space:]": r"\t\n\v\f\r ",
    "[:upper:]": "A-Z",
    "[:word:]": "0-9A-Za-z_",
    "[:xdigit:]": "0-9A-Fa-f",
}
_NOT_ASCII: Final = r"\x80-\U0010ffff"
# Without the four that Python folds to an ASCII letter: dotted and dotless i, long s, the Kelvin sign.
_NOT_ASCII_NOR_FOLDED: Final = r"\x80-\u012f\u0132-\u017e\u0180-\u2129\u212b-\U0010ffff"

_ESCAPE: Final = r"""
    \\(?: (?P<octal>0[0-7]{0,2}|[1-7][0-7]{1,2}) | x(?P<hex>[0-9A-Fa-f]{2}) | x\{(?P<code>[0-9A-Fa-f]+)\}
        | (?P<control>[afnrtv]) | (?P<sign>[\x00-/:-@\[-`{-\x7f]) )"""
_CONTROLS: Final = {"a": "\a", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}

_TOKEN: Final = re.compile(
    rf"""
      (?P<group>\((?:\?P?<(?P<name>\w+)>|(?!\?)))
    | (?P<flagged>\(\?(?P<on>[imsU]*)(?:-(?P<off>[imsU]+))?(?P<end>[:)]))
    | (?P<close>\))
    | (?P<bar>\|)
    | (?P<repeat>(?:[*+?]|\{{(?P<least>0|[1-9]\d*)(?:,(?P<most>0|[1-9]\d*)?)?\}})(?P<lazy>\??))
    | (?P<bracket>\[(?P<inverted>\^?+)(?P<items>\]?+(?:\[:\^?\w+:\]|\\.|[^\]\\])*+)\])
    | (?P<quoted>\\Q(?P<quote>.*?)(?:\\E|\Z))
    | (?P<anchor>[\^$]|\\[AbBz])
    | (?P<dot>\.)
    | (?P<perl>\\[dDsSwW])
    | (?P<escape>{_ESCAPE})
    | (?P<refused>\\.?|\[|\(\?(?:<[=!]|P?<|.)?)
    | (?P<plain>.)
    """,
    re.VERBOSE | re.DOTALL | re.ASCII,
)
_ITEM: Final = re.compile(
    rf"""
      (?P<posix>\[:\^?\w+:\])
    | (?P<perl>\\[dDsSwW])
    | (?P<escape>{_ESCAPE})
    | (?P<refused>\\.?)
    | (?P<plain>.)
    """,
    re.VERBOSE | re.DOTALL | re.ASCII,
)
_ANCHORS: Final = {
    "^": r"\A",
    "$": r"\Z",
    r"\A": r"\A",
    r"\z": r"\Z",
    r"\b": r"(?a:\b)",
    r"\B": r"(?!(?a:\b))",  # Python's own does not match the empty text.
}
_REFUSED: Final = {
    "\\": "trailing backslash",
    r"\p": r"\p (a Unicode class) is not supported",
    r"\P": r"\P (a Unicode class) is not supported",
    "[": "unterminated character class",
    "(?<": "bad group name",
    "(?P<": "bad group name",
}
_MOST_REPEATS: Final = 1000  # Go's own limit.


class PatternError(ValueError):
    """A pattern that cannot be taken: what is wrong, and where in the pattern as it was written."""

    def __init__(self, problem: str, position: int) -> None:
        super().__init__(f"{problem} at position {position}")


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """A Python pattern that matches what Go's `pattern` matches. Raises PatternError."""
    translation = _Translation()
    for token in _TOKEN.finditer(pattern):
        translation.write(token)
    try:
        return re.compile(translation.finished())
    except RecursionError:
        raise PatternError("groups nested too deeply", 0) from None


class _Translation:
    """One pattern under way: what is written so far, the flags in force, the groups still open."""

    def __init__(self) -> None:
        self._out: list[str] = []
        self._flags: frozenset[str] = frozenset()
        self._open: list[tuple[int, frozenset[str]]] = []
        self._names: set[str] = set()
        self._unrepeatable = "nothing to repeat"

    def finished(self) -> str:
        if self._open:
            raise PatternError("unterminated group", self._open[-1][0])
        return "".join(self._out)

    def write(self, token: re.Match[str]) -> None:
        match token.lastgroup:
            case "group":
                self._open_group(token, f"({self._new_name(token)}", self._flags)
            case "flagged":
                self._flagged(token)
            case "close":
                self._close_group(token)
            case "bar":
                self._put("|", "nothing to repeat")
            case "repeat":
                self._put(self._repeat(token), "repeat of a repeat")
            case "anchor":
                per_line = "m" in self._flags and token[0] in "^$"
                anchor = f"(?m:{token[0]})" if per_line else _ANCHORS[token[0]]
                self._put(anchor, "an anchor cannot be repeated")
            case "dot":
                self._put("(?s:.)" if "s" in self._flags else ".")
            case "perl" | "bracket":
                self._put(self._folded(self._class(token)))
            case _:
                self._put_literals(token["quote"] if token["quoted"] else _character(token))

    def _put(self, text: str, unrepeatable: str = "") -> None:
        self._out.append(text)
        self._unrepeatable = unrepeatable

    def _put_literals(self, characters: str) -> None:
        for character in characters:
            cased = character.lower() != character.upper()
            self._put(self._folded(re.escape(character)) if cased else re.escape(character))

    def _folded(self, atom: str) -> str:
        return f"(?i:{atom})" if "i" in self._flags else atom

    def _new_name(self, token: re.Match[str]) -> str:
        name = token["name"]
        if name is None:
            return ""
        if name[0].isdigit():
            raise PatternError(f"group name {name} begins with a digit", token.start("name"))
        if name in self._names:
            raise PatternError(f"group name {name} used twice", token.start("name"))
        self._names.add(name)
        return f"?P<{name}>"

    def _open_group(self, token: re.Match[str], opening: str, flags_inside: frozenset[str]) -> None:
        self._open.append((token.start(), self._flags))
        self._flags = flags_inside
        self._put(opening, "nothing to repeat")

    def _close_group(self, token: re.Match[str]) -> None:
        if not self._open:
            raise PatternError("unmatched )", token.start())
        _, self._flags = self._open.pop()
        self._put(")")

    def _flagged(self, token: re.Match[str]) -> None:
        """`(?i:` holds for its group, `(?i)` to the end of the group around it, alternatives included."""
        flags = self._flags.union(token["on"]).difference(token["off"] or "")
        if token["end"] == ":":
            self._open_group(token, "(?:", flags)
        else:
            self._flags = flags

    def _repeat(self, token: re.Match[str]) -> str:
        if self._unrepeatable:
            raise PatternError(self._unrepeatable, token.start())
        # Five digits are too many already, and Python does not read thousands of them.
        least, most = int((token["least"] or "0")[:5]), int((token["most"] or str(_MOST_REPEATS))[:5])
        if max(least, most) > _MOST_REPEATS:
            raise PatternError(f"more than {_MOST_REPEATS} repeats", token.start())
        if least > most:
            raise PatternError(f"repeat {token[0]} is the wrong way round", token.start())
        count = token[0].removesuffix("?") if token["lazy"] else token[0]
        return count + ("?" if bool(token["lazy"]) != ("U" in self._flags) else "")

    def _class(self, token: re.Match[str]) -> str:
        if token["perl"]:
            return f"[{'^' if _is_inverted(token) else ''}{_members(token)}]"
        items = [*_ITEM.finditer(token.string, *token.span("items"))]
        members = []
        while items:
            first = items.pop(0)
            if first["perl"] or first["posix"]:
                members.append(self._complement(first) if _is_inverted(first) else _members(first))
            elif len(items) >= 2 and items[0][0] == "-":
                members.append(_range(first, last=items[1]))
                del items[:2]
            else:
                members.append(re.escape(_character(first)))
        return f"[{token['inverted']}{''.join(members)}]"

    def _complement(self, item: re.Match[str]) -> str:
        """The members of an inverted class spelled out: `[a[:^digit:]]` has no form in Python."""
        folded = "i" in self._flags
        others = re.compile(f"[^{_members(item)}]", re.IGNORECASE if folded else 0)
        ascii_others = "".join(re.escape(chr(code)) for code in range(128) if others.match(chr(code)))
        return ascii_others + (_NOT_ASCII_NOR_FOLDED if folded else _NOT_ASCII)


def _is_inverted(item: re.Match[str]) -> bool:
    return item[0].isupper() if item["perl"] else item[0].startswith("[:^")


def _members(item: re.Match[str]) -> str:
    name = item[0].lower() if item["perl"] else item[0].replace("^", "")
    if name not in _CLASSES:
        raise PatternError(f"unknown class {item[0]}", item.start())
    return _CLASSES[name]


def _range(first: re.Match[str], last: re.Match[str]) -> str:
    if last["perl"] or last["posix"]:
        raise PatternError(f"{last[0]} cannot end a range", last.start())
    low, high = _character(first), _character(last)
    if low > high:
        raise PatternError(f"range {first[0]}-{last[0]} is the wrong way round", first.start())
    return f"{re.escape(low)}-{re.escape(high)}"


def _character(token: re.Match[str]) -> str:
    """The one character that a token stands for."""
    if token["refused"]:
        raise PatternError(_REFUSED.get(token[0], f"{token[0]} is not in Go's syntax"), token.start())
    if token["octal"]:
        return chr(int(token["octal"], 8))
    if digits := token["hex"] or token["code"]:
        if int(digits, 16) > sys.maxunicode:
            raise PatternError(f"no such character {token[0]}", token.start())
        return chr(int(digits, 16))
    return _CONTROLS.get(token["control"]) or token["sign"] or token["plain"]
