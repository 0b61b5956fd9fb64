"""Takes snapshots of a host's sockets, with state that makes the next one cheaper."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence, Set
from contextlib import suppress
from itertools import chain
from typing import Final

from ..log import LogOnChange
from ..model.close_wait import ClassifiedCloseWait
from ..model.collectors import CollectorName
from ..model.groups import Direction, SocketGroup
from ..model.host import EphemeralRange, FdUsage, KernelCounters, SysctlLimits
from ..model.process import Owner, ProcessId
from ..model.snapshot import PartialSnapshot, Snapshot, build_empty_partial_snapshot
from ..model.sockets import LISTEN, STATE_NAMES, CloseWaitSocket, Listener
from ..naming.rules import NameCache, Namer
from ..netlink.retry import retry_transient
from ..owners.dead_fd_finder import DeadFdFinder
from ..owners.resolver import OwnerResolver
from ..runtime import gc_paused, trim_heap
from ..tracking.bound_ports import BoundPortCounter
from ..tracking.classifier import Classifier, ClassifierCache
from ..tracking.close_wait_tracker import AgeTracker, classify_close_wait
from ..tracking.counter import SocketCounter
from ..tracking.destinations import DestinationOwners
from ..tracking.listeners import ListenerTable
from ..tracking.pending import CountInProgress
from .collector_runs import CollectorRuns, build_partial_snapshot
from .dead_fd_steps import DeadFdSteps
from .host_totals import read_host
from .interfaces import HostReaders, SocketSource

PORT_COUNT_INTERVAL_SECONDS: Final = 60.0
"""Time between two counts of the ports in use on each local address if reading the sockets takes longer than
_SLOW_READ_SECONDS. Such a count decodes every socket."""
_SLOW_READ_SECONDS: Final = 0.005
# Number of sockets above which the heap is trimmed after a collection.
_TRIM_HEAP_ABOVE_SOCKETS: Final = 10_000

# These collectors run even if they are disabled: the others need their results.
_SOCKET_COLLECTORS: Final = frozenset({CollectorName.STATES, CollectorName.LISTENERS, CollectorName.OWNERS})
_REQUIRED_COLLECTORS: Final = _SOCKET_COLLECTORS | {CollectorName.LIMITS}


class SocketTracker:
    """Takes snapshots. Not for concurrent use, except the attribute `partial`."""

    def __init__(
        self,
        source: SocketSource,
        resolver: OwnerResolver,
        readers: HostReaders,
        namer: Namer,
        enabled: frozenset[CollectorName] = frozenset(CollectorName),
        clock: Callable[[], float] = time.monotonic,
        *,
        dead_fds: DeadFdFinder | None = None,
        long_running: bool = False,
    ) -> None:
        """Prepare the first snapshot.

        enabled: the collectors to run.
        dead_fds: finder of dead file descriptors; None if the source has no inodes.
        long_running: defer expensive, non-essential work from the first collection to the second.
        """
        self._source = source
        self._resolver = resolver
        self._readers = readers
        self._name_cache = NameCache(namer)
        self._enabled = enabled
        self._clock = clock
        self._dead_fds = dead_fds
        self._log = LogOnChange(logging.getLogger(__name__))
        self._counter = SocketCounter()
        self._listeners = ListenerTable()
        self._previous_listeners: set[tuple[bytes, int, int]] = set()
        self._destinations = DestinationOwners()
        self._ages = AgeTracker()
        self._classifiers = ClassifierCache(self._listeners, self._destinations)
        self._ephemeral_range: EphemeralRange | None = None
        self._max_bound_ports: int | None = None
        self._defer_port_count = long_running
        self._next_port_count = 0.0
        self.partial: PartialSnapshot | None = None
        """Results of the running collection; None if none is running. May be read by any thread."""

    def set_namer(self, namer: Namer) -> None:
        """Use another namer from the next collection on."""
        self._resolver.set_details(details=namer.needs_details)
        self._name_cache = NameCache(namer)

    def snapshot(self) -> Snapshot:
        """Run a collection. Never raises: the snapshot names the collectors that failed."""
        started_at = self._clock()
        self.partial = build_empty_partial_snapshot(started_at)
        try:
            with gc_paused():
                snapshot = self._collect(started_at)
        finally:
            self.partial = None
        if sum((snapshot.groups or {}).values()) > _TRIM_HEAP_ABOVE_SOCKETS:
            trim_heap()
        return snapshot

    def _collect(self, started_at: float) -> Snapshot:
        runs = CollectorRuns(self._log, self._enabled | _REQUIRED_COLLECTORS)
        names = OwnerNames(self._resolver, self._name_cache)
        limits, counters = self._read_host(runs)
        self.partial = build_partial_snapshot(started_at, runs, limits, counters)

        runs.run(CollectorName.OWNERS, self._invalidate_stale, None)
        count, ports = runs.run(CollectorName.STATES, self._begin_count, _empty_count())
        listeners = runs.run(CollectorName.LISTENERS, self._read_listeners, list[Listener]())
        sockets_with_ages = runs.run(
            CollectorName.CLOSE_WAIT, self._read_close_wait, list[tuple[CloseWaitSocket, float]]()
        )
        self.partial = build_partial_snapshot(
            started_at, runs, limits, counters, self._count_by_state(count), len(listeners)
        )

        # Owner keys that the count does not contain.
        extra = {sock.socket.owner_key for sock, _ in sockets_with_ages}
        extra.update(listener.owner_key for listener in listeners)
        count.owner_keys.update(extra)
        dead_fd_steps = DeadFdSteps(self._dead_fds, runs, self._resolver)
        dead_fd_steps.observe(count.owner_keys, listeners)
        runs.run(CollectorName.OWNERS, lambda: self._resolve_owners(count, listeners, extra), None)
        dead_fds = dead_fd_steps.find(count.owner_keys)
        owned_listeners = [(listener, self._resolver.owner_of(listener.owner_key)) for listener in listeners]
        # Listeners that could not be read have not been closed.
        if CollectorName.LISTENERS not in runs.failed:
            self._listeners.update(owned_listeners)
        classifier = self._get_classifier()
        groups = runs.run(
            CollectorName.STATES,
            lambda: self._complete_count(count, ports, classifier, names, runs.failed),
            Counter[SocketGroup](),
        )
        close_wait = runs.run(
            CollectorName.CLOSE_WAIT,
            lambda: self._classify_close_wait(sockets_with_ages, classifier, runs.failed),
            list[ClassifiedCloseWait](),
        )
        runs.run(CollectorName.EPHEMERAL, lambda: self._count_bound_ports(ports, listeners), None)
        owners = {group.owner for group in groups} | {owner for _, owner in owned_listeners}
        owners |= {row.group.owner for row in close_wait}
        owners |= {owner for owner, _, _ in dead_fds or ()}
        runs.run(CollectorName.OWNERS, lambda: names.preload(owners), None)
        fd_usage = self._read_fd_usage(runs, names.by_owner)
        workers = self._read_workers(owned_listeners)
        used = self._counter.owners() | self._destinations.owners()
        self._resolver.retain(used)
        # Names are kept exactly as long as the attributes of the process.
        self._name_cache.retain(lambda owner: self._resolver.is_alive(owner) or owner in used)
        runs.log_recoveries()

        groups.update(
            SocketGroup(LISTEN, owner, Direction.NONE, listener.local_port)
            for listener, owner in owned_listeners
        )
        failed = frozenset(runs.failed)
        succeeded = self._enabled - failed
        return Snapshot(
            groups=None if CollectorName.STATES in failed else groups,
            listeners=None if CollectorName.LISTENERS in failed else owned_listeners,
            names=names.by_owner,
            unreadable_processes=dict(self._resolver.unreadable_processes),
            unresolved_reason=(
                "unreadable" if CollectorName.OWNERS in failed else self._resolver.unresolved_reason
            ),
            durations=runs.durations,
            failed=failed,
            close_wait=close_wait if CollectorName.CLOSE_WAIT in succeeded else None,
            queue_bytes=None if CollectorName.STATES in failed else self._counter.queue_bytes(count),
            max_bound_ports=self._max_bound_ports if CollectorName.EPHEMERAL in succeeded else None,
            limits=limits,
            counters=counters,
            fd_usage=fd_usage,
            dead_fds=dead_fds,
            workers=workers,
            handle_counts=(
                self._read_handle_counts(names.by_owner) if CollectorName.DESCRIPTORS in succeeded else None
            ),
            services=names.services,
            has_bound_sockets=self._source.has_bound_sockets,
            source=self._source.name,
        )

    def _read_host(self, runs: CollectorRuns) -> tuple[SysctlLimits | None, KernelCounters | None]:
        """Return limits and counters, as read_host() does."""
        limits, counters = read_host(self._readers, runs)
        if limits is not None and limits.ephemeral != self._ephemeral_range:
            # Groups contain which sockets use ephemeral ports: all sockets must be classified again.
            self._ephemeral_range = limits.ephemeral
            self._counter = SocketCounter()
            self._max_bound_ports = None
            self._next_port_count = 0.0
        return limits, counters

    def _invalidate_stale(self) -> None:
        stale = self._resolver.refresh()
        transferred = self._resolver.transferred
        # Connections that wait in the accept queue of a transferred listener have its owner, and no key.
        listening = {owner_key for _, _, owner_key in self._previous_listeners}
        stale |= {owner for owner_key, owner in transferred.items() if owner_key in listening}
        self._counter.invalidate(stale, transferred.keys())
        self._listeners.invalidate(stale)

    def _begin_count(self) -> tuple[CountInProgress, BoundPortCounter | None]:
        """Count the sockets with known keys, and the ports in use if that count is due."""
        started = self._clock()
        is_due = CollectorName.EPHEMERAL in self._enabled and started >= self._next_port_count
        ephemeral = self._ephemeral_range if is_due else None
        if ephemeral and self._defer_port_count:
            self._defer_port_count, ephemeral = False, None

        def begin() -> tuple[CountInProgress, BoundPortCounter | None]:
            ports = BoundPortCounter(ephemeral) if ephemeral else None
            return self._counter.begin(self._source.full_sockets(), ports), ports

        count, ports = retry_transient(begin)
        finished = self._clock()
        if ports and finished - started > _SLOW_READ_SECONDS:
            self._next_port_count = finished + PORT_COUNT_INTERVAL_SECONDS
        return count, ports

    def _read_listeners(self) -> list[Listener]:
        return retry_transient(self._source.listeners)

    def _read_close_wait(self) -> list[tuple[CloseWaitSocket, float]]:
        """Return the sockets in CLOSE_WAIT with their ages in seconds."""
        sockets = retry_transient(self._source.close_wait_sockets)
        return list(zip(sockets, self._ages.update(sockets, self._clock()), strict=True))

    def _count_by_state(self, count: CountInProgress) -> dict[int, int]:
        """Return the number of sockets in each state that has been read."""
        totals = self._counter.totals_by_state(count)
        return {state: totals[state] for state in STATE_NAMES.keys() - self._source.pending_states}

    def _resolve_owners(
        self,
        count: CountInProgress,
        listeners: Iterable[Listener],
        extra: Set[int],
    ) -> None:
        """Resolve the owners of unclassified sockets, and of `extra` owner keys."""
        # Listeners have no cookie: a new one is recognised by its address, port and owner key.
        endpoints = {listener[:3] for listener in listeners}
        new_owner_keys = {owner_key for _, _, owner_key in endpoints - self._previous_listeners}
        self._previous_listeners = endpoints
        self._resolver.revalidate(chain(count.new_owner_keys(), new_owner_keys))
        self._resolver.resolve(count.unclassified_owner_keys() | extra, count.owner_keys)

    def _get_classifier(self) -> Classifier:
        # A new counter gives groups other ids.
        id_version = self._counter, self._counter.id_version
        return self._classifiers.get(self._resolver.owner_of, self._ephemeral_range, id_version)

    def _complete_count(
        self,
        count: CountInProgress,
        ports: BoundPortCounter | None,
        classifier: Classifier,
        names: OwnerNames,
        failed: set[CollectorName],
    ) -> Counter[SocketGroup]:
        def read_minisocks() -> CountInProgress | None:
            if CollectorName.STATES in failed:
                return None
            # After a failed attempt, `ports` may contain ports of sockets that are closed by now.
            minisocks = retry_transient(lambda: self._counter.extend(count, self._source.minisocks(), ports))
            classifier.learn_ports(minisocks.unclassified_tables())
            return minisocks

        def learn_destinations(groups: list[SocketGroup], opened: set[SocketGroup]) -> None:
            self._destinations.update(groups, opened, names.get, self._clock())

        cacheable = not failed & _SOCKET_COLLECTORS
        classifier.learn_ports(count.unclassified_tables())
        return self._counter.complete(
            count, classifier.group_ids, read_minisocks, learn_destinations, cacheable=cacheable
        )

    def _classify_close_wait(
        self,
        sockets_with_ages: list[tuple[CloseWaitSocket, float]],
        classifier: Classifier,
        failed: set[CollectorName],
    ) -> list[ClassifiedCloseWait]:
        previous = self._counter.previous_groups([sock.socket.cookie for sock, _ in sockets_with_ages])
        return classify_close_wait(
            sockets_with_ages, previous, classifier, counted=not failed & _SOCKET_COLLECTORS
        )

    def _count_bound_ports(self, ports: BoundPortCounter | None, listeners: Iterable[Listener]) -> None:
        if ports:
            ports.add((listener.local_address, listener.local_port) for listener in listeners)
            self._max_bound_ports = ports.max_per_address()

    def _read_fd_usage(self, runs: CollectorRuns, owners: Iterable[Owner]) -> dict[ProcessId, FdUsage]:
        """Return the file descriptor usage of the owners that are readable."""
        usage: dict[ProcessId, FdUsage] = {}

        def read() -> None:
            failure: OSError | None = None
            for owner in owners:
                if isinstance(owner, ProcessId) and self._resolver.is_alive(owner):
                    try:
                        usage[owner] = self._readers.read_fd_usage(owner.pid)
                    except (PermissionError, FileNotFoundError, ProcessLookupError):
                        continue  # The process has exited, or the exporter lacks the permission.
                    except OSError as error:
                        failure = error
            if failure:
                raise failure

        runs.run(CollectorName.DESCRIPTORS, read, None)
        return usage

    def _read_workers(
        self, owned_listeners: Iterable[tuple[Listener, Owner]]
    ) -> dict[ProcessId, Sequence[int]]:
        """Return the workers of processes with connections in an accept queue, where they are readable."""
        workers: dict[ProcessId, Sequence[int]] = {}
        waiting = {owner for listener, owner in owned_listeners if listener.queue_length}
        for owner in waiting:
            if isinstance(owner, ProcessId) and self._resolver.is_alive(owner):
                with suppress(OSError, ValueError):
                    workers[owner] = self._readers.read_workers(owner.pid)
        return workers

    def _read_handle_counts(self, owners: Iterable[Owner]) -> dict[ProcessId, int] | None:
        """Return the number of open handles of the owners' processes; None if the system has no handles.

        The services of one process share its handles, which are counted once.
        """
        if self._readers.read_handle_count is None:
            return None
        counts: dict[ProcessId, int] = {}
        for process in {owner.without_service() for owner in owners if isinstance(owner, ProcessId)}:
            if self._resolver.is_alive(process):
                with suppress(OSError):  # The process has exited.
                    counts[process] = self._readers.read_handle_count(process.pid)
        return counts


def _empty_count() -> tuple[CountInProgress, BoundPortCounter | None]:
    return CountInProgress(), None


class OwnerNames:
    """Names of the owners that one collection has found."""

    def __init__(self, resolver: OwnerResolver, cache: NameCache) -> None:
        self._resolver = resolver
        self._cache = cache
        self.by_owner: dict[Owner, str] = {}
        """Names that have been requested or preloaded."""
        self.services: dict[ProcessId, Sequence[str]] = {}
        """Windows services of these owners; processes without services are absent."""

    def get(self, owner: ProcessId) -> str:
        """Return the name of the owner's process."""
        if owner not in self.by_owner:
            process = self._resolver.process(owner)
            self.by_owner[owner] = self._cache.name(owner, process)
            if process.services:
                self.services[owner] = process.services
        return self.by_owner[owner]

    def preload(self, owners: Iterable[Owner]) -> None:
        """Add the names of these owners, if they are processes, and of the processes of services."""
        for owner in owners:
            if isinstance(owner, ProcessId):
                self.get(owner)
                if self._resolver.is_alive(process := owner.without_service()):
                    self.get(process)
