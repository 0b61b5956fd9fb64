"""What one look could not see, in plain words, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from ..model.collectors import COLLECTOR_HELP, CollectorName
from ..model.host import SysctlLimits
from ..model.process import ProcessId, Unowned
from ..model.snapshot import Snapshot
from .findings.words import paragraph, plural


class BlindSpot(NamedTuple):
    """Something that could not be seen. `remedy` is empty where nothing can be done."""

    what: str
    remedy: str


_RIGHTS: Final = (
    "Run it as root, or with the capabilities CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH, both; root in a "
    "container may lack them."
)

_HELD_BY: Final = {
    "unreadable": "by processes that this user may not look into",
    "hidden": "by processes that this user cannot even see, /proc being mounted with hidepid",
    "not_found": "by no process that can be seen here: by one in another container, or the kernel itself",
    "disabled": "by processes that were not looked for",
}
_REMEDIES: Final = {
    "unreadable": _RIGHTS,
    "hidden": f"{_RIGHTS} The group that /proc is mounted for (its option `gid=`) sees them too.",
    "not_found": "From inside a container: give it the process namespace of the host (`--pid=host`).",
    "disabled": "Leave out `--no-collector.owners`.",
}

_PSUTIL: Final = "psutil"

# Parts that can be left out, and that findings come from.
_OPTIONAL: Final = (CollectorName.CLOSE_WAIT, CollectorName.EPHEMERAL, CollectorName.DESCRIPTORS)


def blind_spots(seen: Snapshot) -> list[BlindSpot]:
    """What could not be seen, the gravest first; empty when all could."""
    return [*_failed(seen), *_unowned(seen), *_not_told(seen), *_left_out(seen)]


def _failed(seen: Snapshot) -> Iterator[BlindSpot]:
    limits = seen.limits.errors if seen.limits else ()
    counters = seen.counters.errors if seen.counters else ()
    for part in (
        CollectorName.STATES,
        CollectorName.LISTENERS,
        CollectorName.OWNERS,
        CollectorName.CLOSE_WAIT,
        CollectorName.EPHEMERAL,
        CollectorName.DESCRIPTORS,
        CollectorName.LIMITS,
    ):
        if part in seen.failed:
            told = "; ".join((*limits, *counters)) if part == CollectorName.LIMITS else ""
            yield BlindSpot(f"Could not be read: {COLLECTOR_HELP[part]}.", f"{told or 'The log says why'}.")


def _unowned(seen: Snapshot) -> Iterator[BlindSpot]:
    if CollectorName.OWNERS in seen.failed:
        return
    groups, reason = (seen.groups or {}).items(), seen.not_found_because
    count = sum(number for group, number in groups if group.owner is Unowned.NOT_FOUND)
    if count:
        verb = "is" if count == 1 else "are"
        what = f"{plural(count, 'socket')} {verb} held {_HELD_BY[reason]}."
        yield BlindSpot(what, _REMEDIES[reason])


def _not_told(seen: Snapshot) -> Iterator[BlindSpot]:
    """What the source of sockets, or the system, does not tell."""
    if seen.source == _PSUTIL:
        what = paragraph("""
            Why connections stay in CLOSE_WAIT, for how long they have been there, and how full accept queues
            are: psutil, which had to be asked, does not tell.
        """)
        yield BlindSpot(what, "On Linux, let it ask the kernel by netlink (`--source`).")
    if (seen.limits or SysctlLimits()).ephemeral is None and CollectorName.LIMITS not in seen.failed:
        what = "How near ephemeral ports are to their limit: this system does not say which ports they are."
        yield BlindSpot(what, "On Windows, `netsh int ipv4 show dynamicport tcp` says it.")
    has_processes = any(isinstance(owner, ProcessId) for owner in seen.names)
    if (
        has_processes
        and not seen.descriptors
        and CollectorName.DESCRIPTORS in seen.seconds.keys() - seen.failed
    ):
        what = "How near processes are to their limit of file descriptors: it can be read on Linux only."
        yield BlindSpot(what, "")


def _left_out(seen: Snapshot) -> Iterator[BlindSpot]:
    for part in _OPTIONAL:
        if part not in seen.seconds and part not in seen.failed:
            yield BlindSpot(f"Not asked for: {COLLECTOR_HELP[part]}.", f"Leave out `--no-collector.{part}`.")
