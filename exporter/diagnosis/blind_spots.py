"""Blind spots: data that could not be read, and the remedies."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from ..model.collectors import COLLECTOR_HELP, CollectorName
from ..model.host import SysctlLimits
from ..model.privilege import Privilege
from ..model.process import ProcessId, Unowned
from ..model.snapshot import Snapshot
from .finding import DiagnosisInput
from .formatting import paragraph, plural


class BlindSpot(NamedTuple):
    """Data that could not be read."""

    description: str
    remedy: str
    """Remedy; empty if there is none."""


_PERMISSIONS: Final = {
    Privilege.NONE: paragraph("""
        Run it as root, or with both capabilities, CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH; root in a container
        may lack them.
    """),
    Privilege.ROOT_WITHOUT_CAPABILITIES: paragraph("""
        Give it both capabilities, CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH: it runs as root without them, as in
        a container (`--cap-add=SYS_PTRACE --cap-add=DAC_READ_SEARCH`).
    """),
    Privilege.FULL: paragraph("""
        It has the capabilities for that: look for a security module that denies the access (AppArmor,
        SELinux), or run it in the user namespace of the host (`--userns=host`).
    """),
}
_PERMISSIONS_ON_WINDOWS: Final = {
    Privilege.NONE: "Run it as administrator.",
    Privilege.ROOT_WITHOUT_CAPABILITIES: "Run it as administrator.",
    Privilege.FULL: "It runs as administrator: Windows protects these processes from inspection.",
}

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
    "unreadable": "",
    "hidden": "The group in the mount option `gid=` of /proc can see them as well.",
    "not_found": paragraph("""
        In a container, give it the process namespace of the host (`--pid=host`). Otherwise look again after a
        few minutes: processes in other network namespaces and threads with descriptors of their own are
        searched less often.
    """),
    "disabled": "Remove `--no-collector.owners`.",
}
"""Value of the label `reason` -> remedy; for _NEED_PERMISSIONS after that of the privilege."""
_NEED_PERMISSIONS: Final = ("unreadable", "hidden")

_SOURCE_WITHOUT_QUEUES: Final = "psutil"

# Collectors that findings depend on and that can be disabled.
_OPTIONAL_COLLECTORS: Final = (CollectorName.CLOSE_WAIT, CollectorName.EPHEMERAL, CollectorName.DESCRIPTORS)


def find_blind_spots(data: DiagnosisInput) -> list[BlindSpot]:
    """Return the blind spots, the most severe first."""
    snapshot = data.snapshot
    return [
        *_find_failed(snapshot),
        *_find_unowned(data),
        *_find_unsupported(snapshot, windows=data.windows),
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


def _find_unowned(data: DiagnosisInput) -> Iterator[BlindSpot]:
    snapshot = data.snapshot
    if CollectorName.OWNERS in snapshot.failed:
        return
    groups, reason = (snapshot.groups or {}).items(), snapshot.unresolved_reason
    count = sum(group_count for group, group_count in groups if group.owner is Unowned.NOT_FOUND)
    if count:
        verb = "is" if count == 1 else "are"
        yield BlindSpot(
            f"{plural(count, 'socket')} {verb} held {_OWNERS_BY_REASON[reason]}.", _remedy(reason, data)
        )
    elif snapshot.dead_fds is not None and (processes := snapshot.unreadable_processes.get("permission")):
        # Their sockets all have owners, but dead file descriptors are in no table of sockets.
        description = f"""
            The dead file descriptors of {plural(processes, "process")} are unknown: this user is not
            permitted to inspect {"it" if processes == 1 else "them"}.
        """
        yield BlindSpot(paragraph(description), _remedy("unreadable", data))


def _remedy(reason: str, data: DiagnosisInput) -> str:
    """Return the remedy for this reason, which depends on the privilege that the exporter has."""
    if reason not in _NEED_PERMISSIONS:
        return _REMEDY_BY_REASON[reason]
    permissions = (_PERMISSIONS_ON_WINDOWS if data.windows else _PERMISSIONS)[data.privilege]
    return f"{permissions} {_REMEDY_BY_REASON[reason]}".strip()


def _find_unsupported(snapshot: Snapshot, *, windows: bool) -> Iterator[BlindSpot]:
    """Yield the data that the socket source or the system does not provide."""
    if snapshot.source == _SOURCE_WITHOUT_QUEUES:
        linux = paragraph("""
            On Linux, dead file descriptors are unknown as well, and listeners on one address and port
            (SO_REUSEPORT) whose processes are unreadable are counted as one.
        """)
        description = paragraph(f"""
            The causes of CLOSE_WAIT, its age before the first collection, and the lengths of accept queues
            are unknown: psutil does not provide them. {"" if windows else linux}
        """)
        yield BlindSpot(description, "" if windows else "On Linux, use netlink (`--source=netlink`).")
    if (snapshot.limits or SysctlLimits()).ephemeral is None and CollectorName.LIMITS not in snapshot.failed:
        description = "The usage of ephemeral ports is unknown: this system does not report their range."
        shown_by = "`netsh int ipv4 show dynamicport tcp` shows it." if windows else ""
        yield BlindSpot(description, shown_by)
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
