"""Figures and names as people read them."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from ...model.process import UNKNOWN_PROCESS, Owner, ProcessId
from ...model.snapshot import Snapshot
from .finding import Usage, Who

_PIDS_NAMED: Final = 5
_MINUTE: Final = 60
_UNITS: Final = ((24 * 60 * _MINUTE, "d"), (60 * _MINUTE, "h"), (_MINUTE, "min"))


def sentence(text: str) -> str:
    """The text with a capital in front."""
    return text[:1].upper() + text[1:]


def clean(text: str) -> str:
    """The name without what a terminal might obey or turn round: process names are chosen by others."""
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in text).strip() or "(no name)"


def paragraph(text: str) -> str:
    """The text on one line: how long sentences are written in the source."""
    return " ".join(text.split())


def paragraphs(text: str) -> tuple[str, ...]:
    """What stands between blank lines, each on one line."""
    return tuple(paragraph(part) for part in text.split("\n\n"))


def plural(count: int, noun: str) -> str:
    """`1 socket`, `2,000 sockets`."""
    ending = "" if count == 1 else "es" if noun.endswith("s") else "s"
    return f"{count:,} {noun}{ending}"


def listed(words: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def duration(seconds: float) -> str:
    """`less than a second`, `45 s`, `12 min`, `2 h 10 min`, `3 d 4 h`; rounded down."""
    if seconds < 1:
        return "less than a second"
    if seconds < 2 * _MINUTE:
        return f"{int(seconds)} s"
    rest = int(seconds)
    parts: list[tuple[int, str]] = []
    for length, unit in _UNITS:
        count, rest = divmod(rest, length)
        if count or parts:
            parts.append((count, unit))
    return " ".join(f"{count} {unit}" for count, unit in parts[:2] if count)


def size(count: int) -> str:
    """Bytes, in the unit of which there are at least ten."""
    for unit in ("bytes", "KiB", "MiB"):
        if count < 10 * 1024:
            return f"{count:,} {unit}"
        count //= 1024
    return f"{count:,} GiB"


def percent(ratio: float) -> str:
    """Rounded down: what is not full is not called so."""
    return f"{math.floor(100 * ratio + 1e-9)} %"


def usage(near: Usage) -> str:
    """`accept queue of port 80: 7 of 511 (1 %)`."""
    used, limit = map(size if near.is_bytes else "{:,}".format, (near.used, near.limit))
    return f"{near.name}: {used} of {limit} ({percent(near.ratio)})"


def named(who: Who) -> str:
    """`printd (pid 4711)`, `nginx (pids 20, 21 and 7 more)`, `an unknown process`."""
    if not who.pids:
        return "an unknown process" if who.name == UNKNOWN_PROCESS else clean(who.name)
    pids = [str(pid) for pid in who.pids] + ([f"{who.more:,} more"] if who.more else [])
    return f"{clean(who.name)} (pid{'s' if len(pids) > 1 else ''} {listed(pids)})"


def subject(who: Who) -> str:
    """As named(), to begin a sentence with. A process's own name keeps its small letter."""
    return named(who) if who.pids or who.name != UNKNOWN_PROCESS else "An unknown process"


def it(who: Who) -> str:
    """What a sentence after the first one calls them."""
    return "the program" if who.name == UNKNOWN_PROCESS else clean(who.name)


def who(owners: Mapping[Owner, int] | Iterable[Owner], seen: Snapshot) -> tuple[Who, ...]:
    """These owners by name; given their numbers of sockets, the one with most first."""
    sockets: Counter[str] = Counter()
    pids: defaultdict[str, set[int]] = defaultdict(set)
    counted = owners.items() if isinstance(owners, Mapping) else ((owner, 1) for owner in owners)
    for owner, count in counted:
        name = seen.process_name(owner)
        sockets[name] += count
        if isinstance(owner, ProcessId) and owner in seen.names:
            pids[name].add(owner.pid)
    ordered = sorted(sockets, key=lambda name: (-sockets[name], name))
    return tuple(_who(name, sorted(pids[name])) for name in ordered)


def _who(name: str, pids: Sequence[int]) -> Who:
    # Nobody wants to read "and 1 more" instead of a number.
    shown = len(pids) if len(pids) <= _PIDS_NAMED + 1 else _PIDS_NAMED
    return Who(name, tuple(pids[:shown]), len(pids) - shown)
