"""Ephemeral ports: each outbound connection takes one, and TIME_WAIT keeps it for a minute."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Final

from ...model.address import format_address
from ...model.ephemeral_ports import unavailable_ports
from ...model.groups import Direction, SocketGroup
from ...model.process import UNKNOWN_PROCESS, Owner
from ...model.snapshot import Snapshot
from ...model.sockets import CLOSE_WAIT, TIME_WAIT
from .finding import Finding, Kind, Scope, Severity, Usage, severity_of
from .ports_words import advice, bound_advice
from .words import listed, named, paragraph, percent, plural, who

_LOOPBACK_NET: Final = 127
_LOOPBACK_IPV6: Final = bytes(15) + b"\x01"
_NAMED: Final = 3


_Way = tuple[bytes, bytes, int]
"""From a local address to a remote address and port."""


@dataclass(slots=True)
class _Traffic:
    """The connections of one way."""

    address: bytes
    port: int
    owners: Counter[Owner] = field(default_factory=Counter)
    time_wait: int = 0
    close_wait: int = 0
    used: int = 0
    """Ephemeral ports."""
    used_open: int = 0
    """Those of them that are not in TIME_WAIT."""

    def add(self, group: SocketGroup, count: int, *, ephemeral: bool) -> None:
        waits = group.state == TIME_WAIT
        self.owners[group.owner] += count
        self.time_wait += count if waits else 0
        self.close_wait += count if group.state == CLOSE_WAIT else 0
        self.used += count if ephemeral else 0
        self.used_open += count if ephemeral and not waits else 0


def find(scope: Scope) -> Iterator[Finding]:
    """A finding for each destination that uses up ports or leaves many TIME_WAIT, and for bind()."""
    limit = _limit(scope.seen)
    used, time_wait = _counts(scope.seen)
    near = {
        way for way, count in used.items() if limit and severity_of(count / limit, scope.thresholds.ports)
    }
    many = {way for way, count in time_wait.items() if count >= scope.thresholds.time_wait_many}
    for to in _fullest(near | many, scope.seen):
        if limit and severity_of(to.used / limit, scope.thresholds.ports):
            yield _used_up(to, limit, scope)
        else:
            yield _many(to, limit, scope)
    yield from _bound(max(used.values(), default=0), scope)


def _counts(seen: Snapshot) -> tuple[Counter[_Way], Counter[_Way]]:
    """Ephemeral ports used, and sockets in TIME_WAIT, on each way."""
    used: Counter[_Way] = Counter()
    time_wait: Counter[_Way] = Counter()
    for group, count in (seen.groups or {}).items():
        if group.addresses is not None:
            way = group.addresses.local_address, group.addresses.remote_address, group.port
            if group.addresses.ephemeral:
                used[way] += count
            if group.state == TIME_WAIT:
                time_wait[way] += count
    return used, time_wait


def _fullest(ways: Collection[_Way], seen: Snapshot) -> list[_Traffic]:
    """The traffic of these ways; of those to one destination, of the one that uses most ports."""
    traffic = {way: _Traffic(*way[1:]) for way in ways}
    for group, count in (seen.groups or {}).items() if ways else ():
        if group.addresses is not None:
            local, address, ephemeral = group.addresses
            if to := traffic.get((local, address, group.port)):
                to.add(group, count, ephemeral=ephemeral)
    ordered = sorted(traffic.values(), key=lambda to: (to.used, to.time_wait))
    return list({(to.address, to.port): to for to in ordered}.values())


def _limit(seen: Snapshot) -> int | None:
    """Ports that connect() can take towards one destination; None where nobody tells."""
    ephemeral = seen.limits.ephemeral if seen.limits else None
    if ephemeral is None:
        return None
    lost = unavailable_ports(seen.groups or {}, (one for one, _ in seen.listeners or ()), ephemeral.contains)
    return max(ephemeral.size - lost, 1)


def _place(to: _Traffic, scope: Scope) -> str:
    if not scope.with_addresses:
        return f"port {to.port} of one address"
    text = format_address(to.address)
    return f"[{text}]:{to.port}" if ":" in text else f"{text}:{to.port}"


def _is_reused(to: _Traffic, seen: Snapshot) -> bool:
    """Whether connect() takes ports in TIME_WAIT again after a second (tcp_tw_reuse)."""
    reuse = seen.limits.time_wait_reuse if seen.limits else None
    loopback = to.address[0] == _LOOPBACK_NET if len(to.address) == 4 else to.address == _LOOPBACK_IPV6
    return reuse == 1 or (reuse == 2 and loopback)


def _used_up(to: _Traffic, limit: int, scope: Scope) -> Finding:
    place, reused = _place(to, scope), _is_reused(to, scope.seen)
    near = Usage(f"ephemeral ports to {place}", to.used, limit)
    # What is in TIME_WAIT keeps no connect() from a port that may be used again.
    needed = to.used_open if reused else to.used
    severity = severity_of(needed / limit, scope.thresholds.ports) or Severity.NOTE
    detail = f"{_who_uses(to, scope)} {_makeup(to)}"
    if reused:
        detail += " Those may be used again after a second: tcp_tw_reuse allows it."
    if severity is not Severity.NOTE:
        detail += " With none left, connecting there fails: `Cannot assign requested address`."
    return Finding(
        kind=Kind.EPHEMERAL_PORTS,
        severity=severity,
        title=f"{percent(near.ratio)} of the ports for connecting to {place} are taken",
        detail=detail,
        advice=advice(scope, severity, mostly_time_wait=2 * to.used_open <= to.used, reused=reused),
        processes=who(to.owners, scope.seen),
        count=to.used,
        direction=Direction.OUTBOUND,
        port=to.port,
        remote_address=format_address(to.address) if scope.with_addresses else None,
        near=near,
    )


def _many(to: _Traffic, limit: int | None, scope: Scope) -> Finding:
    """TIME_WAIT far from the limit, or with a limit that is not known."""
    place = _place(to, scope)
    near = Usage(f"ephemeral ports to {place}", to.used, limit) if limit else None
    severity = Severity.NOTE if near else Severity.WARNING
    unknown = "" if near else "How many ports there are is not known."
    return Finding(
        kind=Kind.TIME_WAIT,
        severity=severity,
        title=f"{plural(to.time_wait, 'connection')} to {place} {'was' if to.time_wait == 1 else 'were'} "
        "closed a moment ago",
        detail=paragraph(f"""
            They are in TIME_WAIT: both sides have closed, and the system keeps their ports for a while.
            {unknown} {_who_uses(to, scope)}
        """),
        advice=advice(scope, severity, mostly_time_wait=True, reused=_is_reused(to, scope.seen)),
        processes=who(to.owners, scope.seen),
        count=to.time_wait,
        direction=Direction.OUTBOUND,
        port=to.port,
        remote_address=format_address(to.address) if scope.with_addresses else None,
        near=near,
    )


def _who_uses(to: _Traffic, scope: Scope) -> str:
    users = who(to.owners, scope.seen)
    words = [named(one) for one in users if one.name != UNKNOWN_PROCESS]
    if not words:
        forgotten = to.time_wait == to.owners.total()
        why = ": the kernel does not remember whose a TIME_WAIT was" if forgotten else ""
        return f"By whom is not known{why}."
    known = len(words) == len(users)
    if len(words) > _NAMED:
        words[_NAMED:] = [f"{len(words) - _NAMED} more"]
    if not known:
        words.append("others that are not known")
    return f"Used by {listed(words)}."


def _makeup(to: _Traffic) -> str:
    counts = {
        "open": to.owners.total() - to.time_wait - to.close_wait,
        "in CLOSE_WAIT": to.close_wait,
        "in TIME_WAIT (closed less than a minute ago)": to.time_wait,
    }
    return f"Connections: {listed([f'{count:,} {words}' for words, count in counts.items() if count])}."


def _bound(towards_one: int, scope: Scope) -> Iterator[Finding]:
    """Ports that bind() cannot have: those of every socket on that address, whatever it is for."""
    seen, levels = scope.seen, scope.thresholds.bound_ports
    taken, ephemeral = seen.ports_on_one_address, seen.limits.ephemeral if seen.limits else None
    if not taken or ephemeral is None:
        return
    near = Usage("ephemeral ports of one local address", taken, max(ephemeral.size, 1))
    severity = severity_of(near.ratio, levels)
    # Mostly one destination's: that finding tells it all.
    if severity is None or 2 * towards_one >= taken:
        return
    yield Finding(
        kind=Kind.BOUND_PORTS,
        severity=severity,
        title=f"{percent(near.ratio)} of the ports of a local address are taken",
        detail=paragraph("""
            Programs that bind to an address before they connect, as proxies do, need
            a port that no other socket of that address has. With none left: `Address already in use`.
        """),
        advice=bound_advice(scope),
        count=taken,
        near=near,
    )
