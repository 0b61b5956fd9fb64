"""Formatting of numbers, names and sentences for readers."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from ..model.process import UNKNOWN_PROCESS, Owner, ProcessId
from ..model.snapshot import Snapshot
from .finding import ProcessRef, Usage

_MAX_PIDS: Final = 5
_MAX_SERVICES: Final = 3
_MINUTE: Final = 60
_UNITS: Final = ((24 * 60 * _MINUTE, "d"), (60 * _MINUTE, "h"), (_MINUTE, "min"))


def capitalize_first(text: str) -> str:
    """Return the text with its first letter capitalized and all others unchanged."""
    return text[:1].upper() + text[1:]


def escape_unprintable(text: str) -> str:
    """Return a process name without characters that control a terminal or reverse the text direction.

    Processes choose their own names. A name without printable characters becomes `(no name)`.
    """
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text).strip() or "(no name)"


def paragraph(text: str) -> str:
    """Return an indented block of source code as text on one line."""
    return " ".join(text.split())


def paragraphs(text: str) -> tuple[str, ...]:
    """Return the blocks between blank lines, each as text on one line."""
    return tuple(paragraph(block) for block in text.split("\n\n"))


def plural(count: int, noun: str) -> str:
    """Return the number and the noun: `1 socket`, `2,000 sockets`."""
    ending = "" if count == 1 else "es" if noun.endswith("s") else "s"
    return f"{count:,} {noun}{ending}"


def join_and(words: Sequence[str]) -> str:
    """Return the words as a list: `a`, `a and b`, `a, b and c`."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def format_duration(seconds: float) -> str:
    """Return a duration, rounded down: `less than a second`, `45 s`, `12 min`, `2 h 10 min`, `3 d 4 h`."""
    if seconds < 1:
        return "less than a second"
    if seconds < 2 * _MINUTE:
        return f"{int(seconds)} s"
    remaining = int(seconds)
    parts: list[tuple[int, str]] = []
    for length, unit in _UNITS:
        count, remaining = divmod(remaining, length)
        if count or parts:
            parts.append((count, unit))
    return " ".join(f"{count} {unit}" for count, unit in parts[:2] if count)


def format_bytes(count: int) -> str:
    """Return a number of bytes, rounded down, in the largest unit that gives at least 10."""
    for unit in ("bytes", "KiB", "MiB"):
        if count < 10 * 1024:
            return f"{count:,} {unit}"
        count //= 1024
    return f"{count:,} GiB"


def format_percent(ratio: float) -> str:
    """Return a ratio in percent, rounded down: only a ratio of 1 gives 100 %."""
    return f"{math.floor(100 * ratio + 1e-9)} %"


def format_usage(usage: Usage) -> str:
    """Return the usage of a limit: `accept queue of port 80: 7 of 511 (1 %)`."""
    used, limit = map(format_bytes if usage.is_bytes else "{:,}".format, (usage.used, usage.limit))
    return f"{usage.name}: {used} of {limit} ({format_percent(usage.ratio)})"


def format_range(low_seconds: float, high_seconds: float) -> str:
    """Return two bounds of a duration: `12 s to 3 h`; one duration if both read the same."""
    low, high = format_duration(low_seconds), format_duration(max(high_seconds, low_seconds))
    return low if low == high else f"{low} to {high}"


def format_pids(pids: Sequence[int]) -> str:
    """Return the lowest pids: `pid 20`, `pids 20, 21 and 7 more`. pids: in ascending order."""
    # A sixth pid takes no more space than "1 more".
    shown = len(pids) if len(pids) <= _MAX_PIDS + 1 else _MAX_PIDS
    return _format_pids(pids[:shown], len(pids) - shown)


def _format_pids(pids: Sequence[int], more_pids: int) -> str:
    words = [str(pid) for pid in pids] + ([f"{more_pids:,} more"] if more_pids else [])
    return f"pid{'s' if len(words) > 1 else ''} {join_and(words)}"


def with_pids(process: ProcessRef) -> str:
    """Return name, services and pids.

    `printd (pid 4711)`, `nginx (pids 20, 21 and 7 more)`, `spoolsv (service Spooler, pid 8)`,
    `an unknown process`.
    """
    if not process.pids:
        is_unknown = process.name == UNKNOWN_PROCESS
        return "an unknown process" if is_unknown else escape_unprintable(process.name)
    services, pids = _format_services(process), _format_pids(process.pids, process.more_pids)
    return f"{escape_unprintable(process.name)} ({f'{services}, ' if services else ''}{pids})"


def _format_services(process: ProcessRef) -> str:
    """Return the services, the first few of them; empty if the name has them (`svchost:Dnscache`)."""
    services = process.services
    if not services or process.name.endswith(f":{'+'.join(services)}"):
        return ""
    names = list(map(escape_unprintable, services))
    if len(names) > _MAX_SERVICES + 1:
        names[_MAX_SERVICES:] = [f"{len(names) - _MAX_SERVICES} more"]
    return f"service{'s' if len(names) > 1 else ''} {join_and(names)}"


def with_pids_capitalized(process: ProcessRef) -> str:
    """Return with_pids() for the start of a sentence. The name of a process keeps its case."""
    return "An unknown process" if with_pids(process) == "an unknown process" else with_pids(process)


def short_name(process: ProcessRef) -> str:
    """Return the name without pids, for sentences after the first."""
    return "the program" if process.name == UNKNOWN_PROCESS else escape_unprintable(process.name)


def group_by_name(
    owners: Mapping[Owner, int] | Iterable[Owner], snapshot: Snapshot
) -> tuple[ProcessRef, ...]:
    """Return the processes of these owners, grouped by name.

    owners: a mapping has numbers of sockets, and the name with most of them comes first; otherwise the names
    are
        in alphabetical order.
    """
    sockets: Counter[str] = Counter()
    pids: defaultdict[str, set[int]] = defaultdict(set)
    services: defaultdict[str, set[str]] = defaultdict(set)
    counted = owners.items() if isinstance(owners, Mapping) else ((owner, 1) for owner in owners)
    for owner, count in counted:
        name = snapshot.process_name(owner)
        sockets[name] += count
        if isinstance(owner, ProcessId) and owner in snapshot.names:
            pids[name].add(owner.pid)
            services[name].update(snapshot.services.get(owner, ()))
    ordered = sorted(sockets, key=lambda name: (-sockets[name], name))
    return tuple(
        _process_ref(name, sorted(pids[name]), sorted(services[name], key=str.lower)) for name in ordered
    )


def _process_ref(name: str, pids: Sequence[int], services: Sequence[str]) -> ProcessRef:
    # A sixth pid takes no more space than "1 more".
    shown = len(pids) if len(pids) <= _MAX_PIDS + 1 else _MAX_PIDS
    return ProcessRef(name, tuple(pids[:shown]), len(pids) - shown, tuple(services))
