"""Findings on ephemeral ports: each outbound connection takes one, and TIME_WAIT keeps it for a minute."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Final

from ..model.address import format_address, is_loopback
from ..model.ephemeral_ports import unavailable_ports
from ..model.groups import Attribution, Direction, SocketGroup
from ..model.process import UNKNOWN_PROCESS, Owner
from ..model.snapshot import Snapshot
from ..model.sockets import CLOSE_WAIT, TIME_WAIT
from . import windows_steps
from .finding import DiagnosisInput, Finding, FindingKind, Severity, Usage, severity_of
from .formatting import (
    format_percent,
    group_by_name,
    join_and,
    paragraph,
    paragraphs,
    plural,
    with_pids,
    with_pids_capitalized,
)

_MAX_USERS: Final = 3


_Flow = tuple[bytes, bytes, int]
"""(local address, remote address, remote port)."""


@dataclass(slots=True)
class _FlowStats:
    """Numbers of the connections of one flow."""

    address: bytes
    port: int
    owners: Counter[Owner] = field(default_factory=Counter)
    time_wait: int = 0
    close_wait: int = 0
    inferred: int = 0
    """Number of connections in TIME_WAIT whose owner is probable, not certain."""
    used: int = 0
    """Number of ephemeral ports in use."""
    used_open: int = 0
    """Number of ephemeral ports in use by connections that are not in TIME_WAIT."""

    def add(self, group: SocketGroup, count: int, *, ephemeral: bool) -> None:
        is_time_wait = group.state == TIME_WAIT
        self.owners[group.owner] += count
        self.time_wait += count if is_time_wait else 0
        self.inferred += count if group.attribution is Attribution.INFERRED else 0
        self.close_wait += count if group.state == CLOSE_WAIT else 0
        self.used += count if ephemeral else 0
        self.used_open += count if ephemeral and not is_time_wait else 0


def find_ephemeral_ports(data: DiagnosisInput) -> Iterator[Finding]:
    """Yield findings for destinations with few free ports or many TIME_WAIT, and for bind()."""
    limit = _ports_per_destination(data.snapshot)
    used, time_wait = _count_by_flow(data.snapshot)
    exhausting = {
        flow for flow, count in used.items() if limit and severity_of(count / limit, data.thresholds.ports)
    }
    busy = {flow for flow, count in time_wait.items() if count >= data.thresholds.time_wait_many}
    for stats in _most_used_flows(exhausting | busy, data.snapshot):
        if limit and severity_of(stats.used / limit, data.thresholds.ports):
            yield _build_exhaustion(stats, limit, data)
        else:
            yield _build_many_time_wait(stats, limit, data)
    yield from _find_bound_ports(max(used.values(), default=0), data)


def _count_by_flow(snapshot: Snapshot) -> tuple[Counter[_Flow], Counter[_Flow]]:
    """Return the numbers of used ephemeral ports and of sockets in TIME_WAIT of each flow."""
    used: Counter[_Flow] = Counter()
    time_wait: Counter[_Flow] = Counter()
    for group, count in (snapshot.groups or {}).items():
        if group.addresses is not None:
            flow = group.addresses.local_address, group.addresses.remote_address, group.port
            if group.addresses.ephemeral:
                used[flow] += count
            if group.state == TIME_WAIT:
                time_wait[flow] += count
    return used, time_wait


def _most_used_flows(flows: Collection[_Flow], snapshot: Snapshot) -> list[_FlowStats]:
    """Return for each destination of these flows the flow that uses most ports."""
    by_flow = {flow: _FlowStats(*flow[1:]) for flow in flows}
    for group, count in (snapshot.groups or {}).items() if flows else ():
        if group.addresses is not None:
            local, address, ephemeral = group.addresses
            if stats := by_flow.get((local, address, group.port)):
                stats.add(group, count, ephemeral=ephemeral)
    ordered = sorted(by_flow.values(), key=lambda stats: (stats.used, stats.time_wait))
    return list({(stats.address, stats.port): stats for stats in ordered}.values())


def _ports_per_destination(snapshot: Snapshot) -> int | None:
    """Return the number of ports that connect() can use for one destination; None if unknown."""
    ephemeral = snapshot.limits.ephemeral if snapshot.limits else None
    if ephemeral is None:
        return None
    listeners = (listener for listener, _ in snapshot.listeners or ())
    return max(ephemeral.size - unavailable_ports(snapshot.groups or {}, listeners, ephemeral.contains), 1)


def _destination_text(stats: _FlowStats, data: DiagnosisInput) -> str:
    if not data.with_addresses:
        return f"port {stats.port} of one address"
    text = format_address(stats.address)
    return f"[{text}]:{stats.port}" if ":" in text else f"{text}:{stats.port}"


def _is_reused(stats: _FlowStats, snapshot: Snapshot) -> bool:
    """Return whether connect() reuses ports in TIME_WAIT after one second (tcp_tw_reuse)."""
    reuse = snapshot.limits.time_wait_reuse if snapshot.limits else None
    return reuse == 1 or (reuse == 2 and is_loopback(stats.address))


def _build_exhaustion(stats: _FlowStats, limit: int, data: DiagnosisInput) -> Finding:
    destination, reused = _destination_text(stats, data), _is_reused(stats, data.snapshot)
    usage = Usage(f"ephemeral ports to {destination}{_assumed(data)}", stats.used, limit)
    # Ports in TIME_WAIT that connect() can reuse do not count.
    needed = stats.used_open if reused else stats.used
    severity = severity_of(needed / limit, data.thresholds.ports) or Severity.NOTE
    reuse = "The kernel reuses ports in TIME_WAIT after one second (tcp_tw_reuse)." if reused else ""
    if data.windows:
        failure = windows_steps.EXHAUSTION
    else:
        failure = "When all ports are in use, connect() fails with `Cannot assign requested address`."
    return Finding(
        kind=FindingKind.EPHEMERAL_PORTS,
        severity=severity,
        title=f"{_subject(stats, data, 'uses')} {format_percent(usage.ratio)} of the ephemeral ports "
        f"to {destination}",
        detail=paragraph(f"""
            {_users_text(stats, data)} {_breakdown_text(stats, data)} {reuse}
            {"" if severity is Severity.NOTE else failure}
        """),
        steps=_steps(data, severity, mostly_time_wait=2 * stats.used_open <= stats.used, reused=reused),
        processes=group_by_name(stats.owners, data.snapshot),
        count=stats.used,
        direction=Direction.OUTBOUND,
        port=stats.port,
        remote_address=format_address(stats.address) if data.with_addresses else None,
        usage=usage,
    )


def _build_many_time_wait(stats: _FlowStats, limit: int | None, data: DiagnosisInput) -> Finding:
    """Return the finding on many TIME_WAIT sockets if the limit is distant or unknown."""
    destination = _destination_text(stats, data)
    name = f"ephemeral ports to {destination}{_assumed(data)}"
    usage = Usage(name, stats.used, limit) if limit else None
    severity = Severity.NOTE if usage else Severity.WARNING
    return Finding(
        kind=FindingKind.TIME_WAIT,
        severity=severity,
        title=f"{_subject(stats, data, 'has')} {plural(stats.time_wait, 'connection')} to {destination} "
        "in TIME_WAIT",
        detail=paragraph(f"""
            Both sides have closed, and the system keeps the local ports for a while.
            {"" if usage else "The number of ephemeral ports is unknown."} {_users_text(stats, data)}
        """),
        steps=_steps(data, severity, mostly_time_wait=True, reused=_is_reused(stats, data.snapshot)),
        processes=group_by_name(stats.owners, data.snapshot),
        count=stats.time_wait,
        direction=Direction.OUTBOUND,
        port=stats.port,
        remote_address=format_address(stats.address) if data.with_addresses else None,
        usage=usage,
    )


def _subject(stats: _FlowStats, data: DiagnosisInput, verb: str) -> str:
    """Return the process if it is the only user, otherwise the host, with the verb; say if it is inferred."""
    users = group_by_name(stats.owners, data.snapshot)
    is_only_user = len(users) == 1 and users[0].name != UNKNOWN_PROCESS
    if not is_only_user:
        return f"The host {verb}"
    return f"{with_pids_capitalized(users[0])} {'probably ' if stats.inferred else ''}{verb}"


def _users_text(stats: _FlowStats, data: DiagnosisInput) -> str:
    users = group_by_name(stats.owners, data.snapshot)
    names = [with_pids(user) for user in users if user.name != UNKNOWN_PROCESS]
    if not names:
        is_time_wait = stats.time_wait == stats.owners.total()
        keeper = "Windows" if data.windows else "the kernel"
        reason = f": {keeper} keeps no owner for sockets in TIME_WAIT" if is_time_wait else ""
        return f"The owner is unknown{reason}."
    has_unknown = len(names) < len(users)
    if len(names) > _MAX_USERS:
        names[_MAX_USERS:] = [f"{len(names) - _MAX_USERS} more"]
    if has_unknown:
        names.append("unknown processes")
    if not stats.inferred:
        return f"Used by {join_and(names)}."
    return (
        f"Used by {join_and(names)}, probably: the owner of {plural(stats.inferred, 'connection')} in "
        "TIME_WAIT is inferred from the process that opened others there at that time."
    )


def _assumed(data: DiagnosisInput) -> str:
    """Return an addition to the name of a limit that is not that of this host."""
    limits = data.snapshot.limits
    return " (range assumed)" if limits and limits.ephemeral_is_assumed else ""


def _breakdown_text(stats: _FlowStats, data: DiagnosisInput) -> str:
    closed = "less than a minute ago"
    if data.windows:
        closed = f"in the last {windows_steps.format_time_wait(data.snapshot.limits)}"
    counts = {
        "open": stats.owners.total() - stats.time_wait - stats.close_wait,
        "in CLOSE_WAIT": stats.close_wait,
        f"in TIME_WAIT (closed {closed})": stats.time_wait,
    }
    return f"Connections: {join_and([f'{count:,} {state}' for state, count in counts.items() if count])}."


def _find_bound_ports(max_used_by_flow: int, data: DiagnosisInput) -> Iterator[Finding]:
    """Yield a finding if few ports are left for bind(), which needs one that no socket of the address uses.

    max_used_by_flow: highest number of ports that one flow uses.
    """
    snapshot = data.snapshot
    used, ephemeral = snapshot.max_bound_ports, snapshot.limits.ephemeral if snapshot.limits else None
    if not used or ephemeral is None:
        return
    name = f"ephemeral ports of one local address{_assumed(data)}"
    usage = Usage(name, used, max(ephemeral.size, 1))
    severity = severity_of(usage.ratio, data.thresholds.bound_ports)
    # If one destination has half of them, the finding on that destination explains the usage.
    if severity is None or 2 * max_used_by_flow >= used:
        return
    yield Finding(
        kind=FindingKind.BOUND_PORTS,
        severity=severity,
        title=f"The host uses {format_percent(usage.ratio)} of the ephemeral ports of a local address",
        detail=paragraph(f"""
            Programs that bind to an address before they connect, as proxies do, need a port that no other
            socket of that address has. {
            windows_steps.EXHAUSTION
            if data.windows
            else "When none is left, bind() fails with `Address already in use`."
        }
        """),
        steps=_bound_steps(data),
        count=used,
        usage=usage,
    )


_REUSE_CONNECTIONS: Final = paragraphs("""
    Keep connections open and reuse them (connection pool, HTTP keep-alive): a new connection for each
    request is what uses up the ports. The other steps only buy time.
""")
_CHECK_FOR_LEAK: Final = paragraphs("""
    Look for a program that opens connections and does not close them: most of these are open, not in
    TIME_WAIT.

    Limit the size of its connection pool.
""")
_MORE_ADDRESSES: Final = (
    "Spread the load over more addresses or ports of the service: each has a limit of its own.",
)
_ALLOW_REUSE: Final = paragraphs("""
    Set `net.ipv4.tcp_tw_reuse=1`: new connections then reuse ports that have been in TIME_WAIT for a second.
""")
_WHAT_DOES_NOT_HELP: Final = paragraphs("""
    Leave `net.ipv4.tcp_fin_timeout` as it is: it does not shorten TIME_WAIT, and `tcp_tw_recycle` was removed
    in Linux 4.12.
""")
_BIND_STEPS: Final = paragraphs("""
    Set `IP_BIND_ADDRESS_NO_PORT` in programs that bind to an address and then connect, as HAProxy and nginx
    do: the same port then serves several destinations.

    Give these programs more source addresses.
""")


def _steps(
    data: DiagnosisInput, severity: Severity, *, mostly_time_wait: bool, reused: bool
) -> tuple[str, ...]:
    """Return the steps for one destination. reused: whether connect() already reuses ports in TIME_WAIT."""
    first = _REUSE_CONNECTIONS if mostly_time_wait else _CHECK_FOR_LEAK
    if severity is Severity.NOTE:
        return first
    if data.windows:
        widen = windows_steps.port_steps(data.snapshot.limits, mostly_time_wait=mostly_time_wait)
        return first + widen + _MORE_ADDRESSES
    if not mostly_time_wait:
        return first + _widen_steps(data) + _MORE_ADDRESSES
    return (
        first + (() if reused else _ALLOW_REUSE) + _widen_steps(data) + _MORE_ADDRESSES + _WHAT_DOES_NOT_HELP
    )


def _bound_steps(data: DiagnosisInput) -> tuple[str, ...]:
    """Return the steps for one local address."""
    if data.windows:
        widen = windows_steps.port_steps(data.snapshot.limits, mostly_time_wait=False)
        return _REUSE_CONNECTIONS + windows_steps.SHARE_PORTS + widen
    return _REUSE_CONNECTIONS + _BIND_STEPS + _widen_steps(data)


def _widen_steps(data: DiagnosisInput) -> tuple[str, ...]:
    ephemeral = data.snapshot.limits.ephemeral if data.snapshot.limits else None
    now = f" (now {ephemeral.low} to {ephemeral.high})" if ephemeral else ""
    return paragraphs(f"""
        Widen `net.ipv4.ip_local_port_range`{now}.

        Add the ports of your own services in that range to `net.ipv4.ip_local_reserved_ports`, so that no
        connection takes them.
    """)
