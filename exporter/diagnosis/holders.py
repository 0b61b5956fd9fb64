"""Processes with most sockets in CLOSE_WAIT and TIME_WAIT, and with most dead file descriptors.

They are listed whether or not that is a problem: findings do not name the owners of a few sockets.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from ..model.groups import Attribution, Direction
from ..model.process import UNKNOWN_PROCESS, Owner
from ..model.snapshot import Snapshot
from ..model.sockets import CLOSE_WAIT, TIME_WAIT
from . import windows_steps
from .finding import ProcessRef
from .formatting import format_duration, format_range, group_by_name, plural, with_pids
from .leaks import age_at_most, opened_for

MAX_HOLDERS_SHOWN: Final = 5
"""Maximum number of processes and ports in each list of the text and the status page; the JSON has all."""

TITLES: Final[Mapping[str, str]] = {
    "close_wait": "Most sockets in CLOSE_WAIT",
    "time_wait": "Most sockets in TIME_WAIT",
    "dead_fds": "Most dead file descriptors (TCP sockets in no kernel table)",
}
"""Key of the list, as in `explain --json` -> heading."""


@dataclass(frozen=True, slots=True)
class Holder:
    """Processes of one name, and the number of sockets they have on one port."""

    process: ProcessRef
    count: int
    direction: Direction | None = None
    port: int | None = None
    """Port of the service, as in Finding; None for dead file descriptors."""
    oldest_seconds: float | None = None
    """Age of the oldest, lower bound; None if unknown, as for TIME_WAIT."""
    oldest_at_most_seconds: float | None = None
    """Upper bound of that age if keepalive is on."""
    inferred: int = 0
    """Number of sockets in TIME_WAIT whose owner is probable, not certain."""
    opened_seconds: float | None = None
    """Time since the first was opened, as in Finding."""


class _Key(NamedTuple):
    name: str
    direction: Direction | None
    port: int | None


@dataclass(slots=True)
class _Total:
    owners: Counter[Owner] = field(default_factory=Counter)
    inferred: int = 0
    oldest_seconds: float | None = None
    oldest_at_most_seconds: float | None = None
    opened_seconds: float | None = None


def find_holders(snapshot: Snapshot) -> Mapping[str, Sequence[Holder]]:
    """Return the holders by key of TITLES, the one with most sockets first."""
    totals = {
        "close_wait": _close_wait(snapshot),
        "time_wait": _count_groups(snapshot, TIME_WAIT),
        "dead_fds": _dead_fds(snapshot),
    }
    return {name: _sorted(by_key, snapshot) for name, by_key in totals.items()}


def _sorted(totals: Mapping[_Key, _Total], snapshot: Snapshot) -> list[Holder]:
    holders = [
        Holder(
            group_by_name(total.owners, snapshot)[0],
            total.owners.total(),
            key.direction,
            key.port,
            total.oldest_seconds,
            total.oldest_at_most_seconds,
            total.inferred,
            total.opened_seconds,
        )
        for key, total in totals.items()
    ]
    return sorted(holders, key=lambda holder: (-holder.count, holder.process.name, holder.port or 0))


def _count_groups(snapshot: Snapshot, state: int) -> dict[_Key, _Total]:
    totals: defaultdict[_Key, _Total] = defaultdict(_Total)
    for group, count in (snapshot.groups or {}).items():
        if group.state == state:
            total = totals[_Key(snapshot.process_name(group.owner), group.direction, group.port)]
            total.owners[group.owner] += count
            total.inferred += count if group.attribution is Attribution.INFERRED else 0
    return dict(totals)


def _close_wait(snapshot: Snapshot) -> dict[_Key, _Total]:
    totals = _count_groups(snapshot, CLOSE_WAIT)
    for sock, group, _, age in snapshot.close_wait or ():
        key = _Key(snapshot.process_name(group.owner), group.direction, group.port)
        # MPTCP connections are counted in no group.
        total = totals.setdefault(key, _Total())
        if sock.mptcp:
            total.owners[group.owner] += 1
        elif not total.owners[group.owner]:
            continue  # closed between the two dumps
        if age or sock.seconds_since_ack is not None:
            total.oldest_seconds = max(age, total.oldest_seconds or 0.0)
        if (at_most := age_at_most(sock, age)) is not None:
            total.oldest_at_most_seconds = max(at_most, total.oldest_at_most_seconds or 0.0)
        if (opened := opened_for(sock, age)) is not None:
            total.opened_seconds = max(opened, total.opened_seconds or 0.0)
    return {key: total for key, total in totals.items() if total.owners.total()}


def _dead_fds(snapshot: Snapshot) -> dict[_Key, _Total]:
    totals: defaultdict[_Key, _Total] = defaultdict(_Total)
    for fd in snapshot.dead_fds or ():
        total = totals[_Key(snapshot.process_name(fd.owner), None, None)]
        total.owners[fd.owner] += 1
        if fd.age_seconds >= 1:  # in a single look it is the time between two dumps, and says nothing
            total.oldest_seconds = max(fd.age_seconds, total.oldest_seconds or 0.0)
    return dict(totals)


def owner_text(holder: Holder) -> str:
    """Return the process, with `probably` if it is inferred for some of the sockets."""
    if holder.process.name == UNKNOWN_PROCESS:
        return "unknown processes"
    name = with_pids(holder.process)
    if not holder.inferred:
        return name
    of = "" if holder.inferred == holder.count else f" {holder.inferred:,} of them"
    return f"{name},{of} probably"


def port_text(holder: Holder) -> str:
    """Return the port with its direction; empty without one."""
    match holder.direction:
        case Direction.INBOUND:
            return f"inbound to port {holder.port}"
        case Direction.OUTBOUND:
            return f"outbound to port {holder.port}"
        case Direction.NONE:
            return f"port {holder.port}"
        case None:
            return ""


def age_text(holder: Holder) -> str:
    """Return the age of the oldest: two bounds with keepalive; empty if it is unknown."""
    if holder.oldest_seconds is None:
        return ""
    if holder.direction is None:  # dead file descriptors, which are older than the exporter knows
        return f"at least {format_duration(holder.oldest_seconds)}"
    if holder.oldest_at_most_seconds is not None:
        return format_range(holder.oldest_seconds, holder.oldest_at_most_seconds)
    # Where the age has an upper bound of its own, it begins with the first observation.
    at_least = "at least " if holder.opened_seconds is not None and holder.oldest_seconds >= 1 else ""
    return f"{at_least}{format_duration(holder.oldest_seconds)}"


def opened_text(holder: Holder) -> str:
    """Return when the first of the connections was opened; empty if it is unknown."""
    if holder.opened_seconds is None:
        return ""
    up_to = "up to " if holder.count > 1 else ""
    return f"{up_to}{format_duration(holder.opened_seconds)} ago"


def title_text(name: str, time_wait_seconds: float | None, *, windows: bool) -> str:
    """Return the heading of a list. name: key of TITLES. time_wait_seconds: duration of TIME_WAIT."""
    if name == "time_wait" and time_wait_seconds is not None:
        return f"{TITLES[name]}, each for at most {time_wait_seconds:.0f} s"
    if name == "time_wait" and windows:
        return f"{TITLES[name]}, each for {windows_steps.DEFAULT_TIME_WAIT}"
    return TITLES[name]


def rest_texts(holders: Sequence[Holder]) -> Iterator[str]:
    """Yield the sentence on the holders that are not shown, if there are any."""
    rest = holders[MAX_HOLDERS_SHOWN:]
    if rest:
        count = sum(holder.count for holder in rest)
        yield f"{count:,} in {plural(len(rest), 'more row')}: `explain --json` lists all."
