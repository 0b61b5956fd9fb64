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

_OWNERS_BY_REASON_ON_WINDOWS: Final = _OWNERS_BY_REASON | {
    "not_found": paragraph("""
        by no process that was found; possibly the process has ended, and another one has its pid or a copy of
        its handle
    """),
}

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
_REMEDY_BY_REASON_ON_WINDOWS: Final = _REMEDY_BY_REASON | {"not_found": ""}

_COLLECTORS_ON_WINDOWS: Final = {
    **COLLECTOR_HELP,
    CollectorName.DESCRIPTORS: "open handles of the processes that own sockets",
    CollectorName.LIMITS: "TCP limits and counters",
}

_PSUTIL: Final = "psutil"
_IPHLPAPI: Final = "iphlpapi"

# Collectors that findings depend on and that can be disabled.
_OPTIONAL_COLLECTORS: Final = (CollectorName.CLOSE_WAIT, CollectorName.EPHEMERAL, CollectorName.DESCRIPTORS)


def find_blind_spots(data: DiagnosisInput) -> list[BlindSpot]:
    """Return the blind spots, the most severe first."""
    return [
        *_find_failed(data),
        *_find_unowned(data),
        *_find_unsupported(data),
        *_find_disabled(data),
    ]


def _collector_content(collector: CollectorName, data: DiagnosisInput) -> str:
    return (_COLLECTORS_ON_WINDOWS if data.windows else COLLECTOR_HELP)[collector]


def _find_failed(data: DiagnosisInput) -> Iterator[BlindSpot]:
    snapshot = data.snapshot
    limits = snapshot.limits.errors if snapshot.limits else ()
    counters = snapshot.counters.errors if snapshot.counters else ()
    for collector in CollectorName:
        if collector in snapshot.failed:
            problems = "; ".join((*limits, *counters)) if collector is CollectorName.LIMITS else ""
            remedy = f"{problems or 'See the log for the reason'}."
            yield BlindSpot(f"Could not be read: {_collector_content(collector, data)}.", remedy)


def _find_unowned(data: DiagnosisInput) -> Iterator[BlindSpot]:
    snapshot = data.snapshot
    if CollectorName.OWNERS in snapshot.failed:
        return
    groups, reason = (snapshot.groups or {}).items(), snapshot.unresolved_reason
    count = sum(group_count for group, group_count in groups if group.owner is Unowned.NOT_FOUND)
    if count:
        verb = "is" if count == 1 else "are"
        owners = (_OWNERS_BY_REASON_ON_WINDOWS if data.windows else _OWNERS_BY_REASON)[reason]
        yield BlindSpot(f"{plural(count, 'socket')} {verb} held {owners}.", _remedy(reason, data))
    elif snapshot.dead_fds is not None and (processes := snapshot.unreadable_processes.get("permission")):
        # Their sockets all have owners, but dead file descriptors are in no table of sockets.
        description = f"""
            The dead file descriptors of {plural(processes, "process")} are unknown: this user is not
            permitted to inspect {"it" if processes == 1 else "them"}.
        """
        yield BlindSpot(paragraph(description), _remedy("unreadable", data))


def _remedy(reason: str, data: DiagnosisInput) -> str:
    """Return the remedy for this reason, which depends on the privilege that the exporter has."""
    remedy = (_REMEDY_BY_REASON_ON_WINDOWS if data.windows else _REMEDY_BY_REASON)[reason]
    if reason not in _NEED_PERMISSIONS:
        return remedy
    permissions = (_PERMISSIONS_ON_WINDOWS if data.windows else _PERMISSIONS)[data.privilege]
    return f"{permissions} {remedy}".strip()


def _find_unsupported(data: DiagnosisInput) -> Iterator[BlindSpot]:
    """Yield the data that the socket source or the system does not provide."""
    snapshot, windows = data.snapshot, data.windows
    yield from _find_without_queues(snapshot, windows=windows)
    if not snapshot.has_bound_sockets:
        description = "Sockets that are bound to a port, and not connected, are missing: "
        if snapshot.source == _IPHLPAPI:
            remedy = "Windows 10 version 1809, Windows Server 2019 and later releases do."
            yield BlindSpot(f"{description}this Windows does not list them.", remedy)
        else:
            yield BlindSpot(f"{description}{snapshot.source} does not list them.", "")
    yield from _find_range(snapshot, windows=windows)
    has_processes = any(isinstance(owner, ProcessId) for owner in snapshot.names)
    has_read_descriptors = CollectorName.DESCRIPTORS in snapshot.durations.keys() - snapshot.failed
    if has_processes and has_read_descriptors and not snapshot.fd_usage and not windows:
        description = "The usage of file descriptors is unknown: it can be read on Linux only."
        yield BlindSpot(description, "")


def _find_without_queues(snapshot: Snapshot, *, windows: bool) -> Iterator[BlindSpot]:
    if snapshot.source == _IPHLPAPI:
        description = """
            Windows reports neither whether a program has noticed that its peer has closed (the cause of
            CLOSE_WAIT) nor the lengths of accept queues.
        """
        yield BlindSpot(paragraph(description), "")
    elif snapshot.source == _PSUTIL:
        linux = """
            On Linux, dead file descriptors are unknown as well, and listeners on one address and port
            (SO_REUSEPORT) whose processes are unreadable are counted as one.
        """
        description = f"""
            The causes of CLOSE_WAIT, its age before the first collection, and the lengths of accept queues
            are unknown: psutil does not provide them. {"" if windows else linux}
        """
        native = "Use `--source=iphlpapi`." if windows else "On Linux, use netlink (`--source=netlink`)."
        yield BlindSpot(paragraph(description), native)


def _find_range(snapshot: Snapshot, *, windows: bool) -> Iterator[BlindSpot]:
    limits = snapshot.limits or SysctlLimits()
    shown_by = "`netsh int ipv4 show dynamicport tcp` shows it." if windows else ""
    if limits.ephemeral_is_assumed and limits.ephemeral:
        description = f"""
            The range of ephemeral ports could not be read: {limits.ephemeral.low} to {limits.ephemeral.high}
            is assumed, the default of Windows.
        """
        yield BlindSpot(paragraph(description), shown_by)
    elif limits.ephemeral is None and CollectorName.LIMITS not in snapshot.failed:
        description = "The usage of ephemeral ports is unknown: this system does not report their range."
        yield BlindSpot(description, shown_by)


def _find_disabled(data: DiagnosisInput) -> Iterator[BlindSpot]:
    snapshot = data.snapshot
    for collector in _OPTIONAL_COLLECTORS:
        if collector not in snapshot.durations and collector not in snapshot.failed:
            yield BlindSpot(
                f"Disabled: {_collector_content(collector, data)}.", f"Remove `--no-collector.{collector}`."
            )
