"""Accept queues near their limit: established connections that the program has not accepted."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from ..model.groups import Direction
from ..model.process import Owner, ProcessId
from ..model.snapshot import Snapshot
from .file_descriptor_findings import is_out_of_fds
from .finding import DiagnosisInput, Finding, FindingKind, ProcessRef, Severity, Usage
from .formatting import (
    format_pids,
    group_by_name,
    paragraph,
    paragraphs,
    plural,
    short_name,
    with_pids_capitalized,
)
from .inspection import inspect_children_steps, inspect_threads_steps


class QueueUsage(NamedTuple):
    """Usage of the most utilized accept queue of a process name and port, and the owners of such queues."""

    usage: Usage
    owners: set[Owner]

    @property
    def is_full(self) -> bool:
        """Whether the kernel drops further connections.

        One connection more than the backlog fits (sk_acceptq_is_full() in include/net/sock.h).
        """
        return self.usage.used > self.usage.limit


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
        key: QueueUsage(
            max(queues, key=lambda usage: (usage.used > usage.limit, usage.ratio, usage.used)), owners[key]
        )
        for key, queues in usages.items()
    }


def find_accept_queues(data: DiagnosisInput) -> Iterator[Finding]:
    """Yield a finding for each process and port with a queue that is nearly full."""
    for (_, port), queue in most_utilized_queue(data.snapshot).items():
        if queue.is_full or queue.usage.ratio > data.thresholds.accept_queue.critical:
            yield _build_finding(port, queue, Severity.CRITICAL, data)
        elif queue.usage.ratio >= data.thresholds.accept_queue.warning:
            yield _build_finding(port, queue, Severity.WARNING, data)


def _build_finding(port: int, queue: QueueUsage, severity: Severity, data: DiagnosisInput) -> Finding:
    processes = group_by_name(queue.owners, data.snapshot)
    name, waiting = short_name(processes[0]), queue.usage.used
    free = queue.usage.limit + 1 - waiting
    if queue.is_full:
        fullness, drops = "full", "The kernel drops further connections"
    else:
        fullness = "nearly full"
        drops = f"{free:,} more {'fits' if free == 1 else 'fit'}; after that the kernel drops connections"
    return Finding(
        kind=FindingKind.ACCEPT_QUEUE,
        severity=severity,
        title=f"{with_pids_capitalized(processes[0])} accepts too slowly: "
        f"the accept queue of port {port} is {fullness}",
        detail=paragraph(f"""
            {plural(waiting, "connection")} {"waits" if waiting == 1 else "wait"} to be accepted by {name}.
            {drops}: clients retransmit the SYN after one second; some give up.
            {describe_master(queue.owners, data.snapshot)}
        """),
        steps=accept_steps(processes[0], queue.owners, data)
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


def describe_master(owners: set[Owner], snapshot: Snapshot) -> str:
    """Return the sentence that tells a master process from its workers; empty if it has none."""
    owner = _only_process(owners)
    workers = snapshot.workers.get(owner, ()) if owner else ()
    if not owner or not workers:
        return ""
    return paragraph(f"""
        Pid {owner.pid} is that of the master, the lowest that has the listener open; its workers
        ({format_pids(workers)}) probably accept.
    """)


def accept_steps(process: ProcessRef, owners: set[Owner], data: DiagnosisInput) -> tuple[str, ...]:
    """Return the steps for a program that does not call accept(). owners: those of its listeners."""
    name, owner = short_name(process), _only_process(owners)
    pid = owner.pid if owner else process.pids[0] if process.pids else None
    workers = data.snapshot.workers.get(owner, ()) if owner else ()
    exhausted = [
        owner.pid for owner in owners if isinstance(owner, ProcessId) and is_out_of_fds(owner, data.snapshot)
    ]
    if exhausted:
        check = paragraphs(f"""
            Free file descriptors first: pid {min(exhausted)} has none left, and accept() fails without one.
        """)
    else:
        check = paragraphs(f"""
            Check what {name} is doing: it hangs, all its workers are busy, or it is out of file descriptors
            (`Too many open files` in its log).
        """)
    return (
        check
        + inspect_threads_steps(name, pid, workers=workers, windows=data.windows)
        + (() if workers else inspect_children_steps(pid, windows=data.windows))
        + paragraphs(f"""
            Restart {name} if it hangs: it accepts again immediately, and its open connections are lost.
        """)
    )


def _only_process(owners: set[Owner]) -> ProcessId | None:
    """Return the owner if it is the only one. Workers with listeners of their own have no master."""
    processes = [owner for owner in owners if isinstance(owner, ProcessId)]
    return processes[0] if len(processes) == 1 == len(owners) else None
