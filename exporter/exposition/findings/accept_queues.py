"""Accept queues near their limit: connections that the kernel has made and the program has not taken."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from ...model.groups import Direction
from ...model.process import Owner
from ...model.snapshot import Snapshot
from .finding import Finding, Kind, Scope, Severity, Usage, severity_of
from .words import it, paragraph, paragraphs, plural, subject, who

_FULL: Final = "No more fit: those that come are dropped, callers try again after a second, and some give up."


class Queue(NamedTuple):
    """The fullest accept queue of a process and port, and all who listen there by that name."""

    near: Usage
    owners: set[Owner]


def fullest(seen: Snapshot) -> Mapping[tuple[str, int], Queue]:
    """(process, local port) -> its fullest queue."""
    queues: defaultdict[tuple[str, int], list[Usage]] = defaultdict(list)
    owners: defaultdict[tuple[str, int], set[Owner]] = defaultdict(set)
    for listener, owner in seen.listeners or ():
        if listener.queue_length is not None and listener.queue_limit is not None:
            place = seen.process_name(owner), listener.local_port
            name = f"accept queue of port {listener.local_port}"
            queues[place].append(Usage(name, listener.queue_length, listener.queue_limit))
            owners[place].add(owner)
    return {
        place: Queue(max(some, key=lambda near: (near.ratio, near.used)), owners[place])
        for place, some in queues.items()
    }


def find(scope: Scope) -> Iterator[Finding]:
    """A finding for each process and port whose queue is nearly full."""
    for (_, port), queue in fullest(scope.seen).items():
        if severity := severity_of(queue.near.ratio, scope.thresholds.accept_queue):
            yield _finding(port, queue, severity, scope)


def _finding(port: int, queue: Queue, severity: Severity, scope: Scope) -> Finding:
    processes = who(queue.owners, scope.seen)
    name, near, full = it(processes[0]), queue.near, severity is Severity.CRITICAL
    fullness = "full" if full else "nearly full"
    return Finding(
        kind=Kind.ACCEPT_QUEUE,
        severity=severity,
        title=f"{subject(processes[0])} accepts too slowly: the queue of port {port} is {fullness}",
        detail=paragraph(f"""
            {plural(near.used, "connection")} {"waits" if near.used == 1 else "wait"} to be accepted by
            {name}. {_FULL if full else ""}
        """),
        advice=causes(name)
        + paragraphs("""
            If it is only too slow for a burst, give it more workers. A longer queue (the program's `backlog`,
            and the sysctl `net.core.somaxconn` that caps it) helps with short bursts only.
        """),
        processes=processes,
        count=near.used,
        direction=Direction.INBOUND,
        port=port,
        near=near,
    )


def causes(name: str) -> tuple[str, ...]:
    """Why a program does not accept, and how to tell."""
    return paragraphs(f"""
        See what {name} is doing: it hangs, all its workers are busy, or it has no file descriptor left
        (`Too many open files` in its log).

        If it hangs, restarting {name} helps at once; the connections it has are lost.
    """)
