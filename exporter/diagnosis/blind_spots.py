"""Blind spots: data that could not be read, and the remedies."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from ..model.collectors import COLLECTOR_HELP, CollectorName
from ..model.host import SysctlLimits
from ..model.process import ProcessId, Unowned
from ..model.snapshot import Snapshot
from .formatting import paragraph, plural


class BlindSpot(NamedTuple):
    """Data that could not be read."""

    description: str
    remedy: str
    """Remedy; empty if there is none."""


_PERMISSIONS: Final = paragraph("""
    Run it as root, or with both capabilities, CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH; root in a container may
    lack them.
""")

_OWNERS_BY_REASON: Final = {
    "unreadable": "by processes that this user is not permitted to inspect",
    "hidden": "by processes that this user cannot see, because /proc is mounted with hidepid",
    "not_found": paragraph("""
        by no process that was found; possible holders are a process in another container, the kernel itself
        (NFS, iSCSI), io_uring on older kernels, and a message from one process to another that has not been
        received yet (SCM_RIGHTS)
    """),
    "disabled": "by processes that were not looked up",
}
"""Value of the label `reason` -> description of the owners of such sockets."""

_REMEDY_BY_REASON: Final = {
    "unreadable": _PERMISSIONS,
    "hidden": f"{_PERMISSIONS} The group in the mount option `gid=` of /proc can see them as well.",
    "not_found": paragraph("""
        In a container, give it the process namespace of the host (`--pid=host`). Otherwise look again after a
        few minutes: processes in other network namespaces and threads with descriptors of their own are
        searched less often.
    """),
    "disabled": "Remove `--no-collector.owners`.",
}

_SOURCE_WITHOUT_QUEUES: Final = "psutil"

# Collectors that findings depend on and that can be disabled.
_OPTIONAL_COLLECTORS: Final = (CollectorName.CLOSE_WAIT, CollectorName.EPHEMERAL, CollectorName.DESCRIPTORS)


def find_blind_spots(snapshot: Snapshot) -> list[BlindSpot]:
    """Return the blind spots, the most severe first."""
    return [
        *_find_failed(snapshot),
        *_find_unowned(snapshot),
        *_find_unsupported(snapshot),
        *_find_disabled(snapshot),
    ]


def _find_failed(snapshot: Snapshot) -> Iterator[BlindSpot]:
    limits = snapshot.limits.errors if snapshot.limits else ()
    counters = snapshot.counters.errors if snapshot.counters else ()
    for collector in CollectorName:
        if collector in snapshot.failed:
            problems = "; ".join((*limits, *counters)) if collector is CollectorName.LIMITS else ""
            remedy = f"{problems or 'See the log for the reason'}."
            yield BlindSpot(f"Could not be read: {COLLECTOR_HELP[collector]}.", remedy)


def _find_unowned(snapshot: Snapshot) -> Iterator[BlindSpot]:
    if CollectorName.OWNERS in snapshot.failed:
        return
    groups, reason = (snapshot.groups or {}).items(), snapshot.unresolved_reason
    count = sum(group_count for group, group_count in groups if group.owner is Unowned.NOT_FOUND)
    if count:
        verb = "is" if count == 1 else "are"
        yield BlindSpot(
            f"{plural(count, 'socket')} {verb} held {_OWNERS_BY_REASON[reason]}.", _REMEDY_BY_REASON[reason]
        )


def _find_unsupported(snapshot: Snapshot) -> Iterator[BlindSpot]:
    """Yield the data that the socket source or the system does not provide."""
    if snapshot.source == _SOURCE_WITHOUT_QUEUES:
        description = paragraph("""
            The causes of CLOSE_WAIT, its age before the first collection, and the lengths of accept queues
            are unknown: psutil does not provide them. On Linux, listeners on one address and port
            (SO_REUSEPORT) whose processes are unreadable are counted as one.
        """)
        yield BlindSpot(description, "On Linux, use netlink (`--source=netlink`).")
    if (snapshot.limits or SysctlLimits()).ephemeral is None and CollectorName.LIMITS not in snapshot.failed:
        description = "The usage of ephemeral ports is unknown: this system does not report their range."
        yield BlindSpot(description, "On Windows, `netsh int ipv4 show dynamicport tcp` shows it.")
    has_processes = any(isinstance(owner, ProcessId) for owner in snapshot.names)
    has_read_descriptors = CollectorName.DESCRIPTORS in snapshot.durations.keys() - snapshot.failed
    if has_processes and has_read_descriptors and not snapshot.fd_usage:
        description = "The usage of file descriptors is unknown: it can be read on Linux only."
        yield BlindSpot(description, "")


def _find_disabled(snapshot: Snapshot) -> Iterator[BlindSpot]:
    for collector in _OPTIONAL_COLLECTORS:
        if collector not in snapshot.durations and collector not in snapshot.failed:
            yield BlindSpot(
                f"Disabled: {COLLECTOR_HELP[collector]}.", f"Remove `--no-collector.{collector}`."
            )
