"""Accept queues near their limit: established connections that the program has not accepted."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from ..model.groups import Direction
from ..model.process import Owner
from ..model.snapshot import Snapshot
from .finding import DiagnosisInput, Finding, FindingKind, Severity, Usage, severity_of
from .formatting import group_by_name, paragraph, paragraphs, plural, short_name, with_pids_capitalized


class QueueUsage(NamedTuple):
    """Usage of the most utilized accept queue of a process name and port, and the owners of such queues."""

    usage: Usage
    owners: set[Owner]


def most_utilized_queue(snapshot: Snapshot) -> Mapping[tuple[str, int], QueueUsage]:
    """Return the most utilized queue of each process name and local port."""
    usages: defaultdict[tuple[str, int], list[Usage]] = defaultdict(list)
    owners: defaultdict[tuple[str, int], set[Owner]] = defaultdict(set)
    for listener, owner in snapshot.listeners or ():
        if listener.queue_length is not None and listener.queue_limit is not None:
            key = snapshot.process_name(owner), listener.local_port
            name = f"accept queue of port {listener.local_port}"
            usages[key].append(Usage(name, listener.queue_length, listener.queue_limit))
            owners[key].add(owner)
    return {
        key: QueueUsage(max(queues, key=lambda usage: (usage.ratio, usage.used)), owners[key])
        for key, queues in usages.items()
    }


def find_accept_queues(data: DiagnosisInput) -> Iterator[Finding]:
    """Yield a finding for each process and port with a queue that is nearly full."""
    for (_, port), queue in most_utilized_queue(data.snapshot).items():
        if severity := severity_of(queue.usage.ratio, data.thresholds.accept_queue):
            yield _build_finding(port, queue, severity, data)


def _build_finding(port: int, queue: QueueUsage, severity: Severity, data: DiagnosisInput) -> Finding:
    processes = group_by_name(queue.owners, data.snapshot)
    name, waiting = short_name(processes[0]), queue.usage.used
    if severity is Severity.CRITICAL:
        fullness, drops = "full", "The kernel drops further connections"
    else:
        fullness, drops = "nearly full", "When the queue is full, the kernel drops further connections"
    return Finding(
        kind=FindingKind.ACCEPT_QUEUE,
        severity=severity,
        title=f"{with_pids_capitalized(processes[0])} accepts too slowly: "
        f"the accept queue of port {port} is {fullness}",
        detail=paragraph(f"""
            {plural(waiting, "connection")} {"waits" if waiting == 1 else "wait"} to be accepted by {name}.
            {drops}: clients retransmit the SYN after one second; some give up.
        """),
        steps=accept_steps(name)
        + paragraphs("""
            Add workers if the program is too slow only during bursts.

            Raise the program's `backlog`, and the sysctl `net.core.somaxconn` that caps it, only to absorb
            short bursts: a longer queue does not make the program faster.
        """),
        processes=processes,
        count=waiting,
        direction=Direction.INBOUND,
        port=port,
        usage=queue.usage,
    )


def accept_steps(name: str) -> tuple[str, ...]:
    """Return the steps for a program that does not call accept(). name: its short name."""
    return paragraphs(f"""
        Check what {name} is doing: it hangs, all its workers are busy, or it is out of file descriptors
        (`Too many open files` in its log).

        Restart {name} if it hangs: it accepts again immediately, and its open connections are lost.
    """)
