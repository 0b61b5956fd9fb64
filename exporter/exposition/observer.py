"""One look at the host: sources -> analysis -> plain values, which the metrics are made from."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from ..analysis.naming import Namer
from ..analysis.ports import Listeners, group_of
from ..analysis.tally import Reading, Tally
from ..logs import Once
from ..model import LISTEN, Batch, Direction, Group, Listener, Owner, ProcessId, Socket
from ..sources.owners import Owners
from .parts import Parts

STATES = "states"
LISTENERS = "listeners"
OWNERS = "owners"


class Source(Protocol):
    """Where sockets are read from."""

    @property
    def name(self) -> str:
        """What build_info calls it."""

    def sockets(self) -> Iterator[Batch]:
        """All TCP sockets but listeners."""

    def listeners(self) -> list[Listener]:
        """All listening TCP sockets; ask for them after sockets()."""


@dataclass(frozen=True, slots=True)
class Observation:
    """What one look found. None stands for what could not be read."""

    groups: Mapping[Group, int] | None
    listeners: list[tuple[Listener, Owner]] | None
    names: Mapping[Owner, str]
    """What the process of each owner is called; an Unowned one has no name."""
    unreadable: Mapping[str, int]
    not_found_because: str
    seconds: Mapping[str, float]
    failed: frozenset[str]


class Observer:
    """Looks at the host, and remembers what makes the next look cheap. Not for concurrent use."""

    def __init__(
        self, source: Source, owners: Owners, namer: Namer, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._source = source
        self._owners = owners
        self._namer = namer
        self._clock = clock
        self._tally = Tally()
        self._listeners = Listeners()
        self._log = Once(logging.getLogger(__name__))

    def observe(self) -> Observation:
        """Looks at everything. Never raises: what failed is absent, and named in `failed`."""
        parts = Parts(self._log)
        with parts.part(OWNERS):
            self._forget_stale()
        reading = Reading()
        with parts.part(STATES):
            reading = self._tally.read(self._source.sockets())
        listeners: list[Listener] = []
        with parts.part(LISTENERS):
            listeners = self._source.listeners()
        with parts.part(OWNERS):
            self._resolve(reading, listeners)
        owned = [(listener, self._owners.owner_of(listener.holder)) for listener in listeners]
        self._listeners.update(owned, self._clock())
        groups: Counter[Group] = Counter()
        with parts.part(STATES):
            groups = self._tally.settle(reading, self._classify, remember=not parts.failed)
        self._owners.keep(self._tally.owners())
        return self._observation(groups, owned, parts)

    def _forget_stale(self) -> None:
        stale = self._owners.refresh()
        self._tally.forget(stale)
        self._listeners.forget(stale)

    def _resolve(self, reading: Reading, listeners: list[Listener]) -> None:
        listening = {listener.holder for listener in listeners}
        self._owners.resolve(reading.unseen_holders() | listening, lambda: reading.live_holders() | listening)

    def _classify(self, socket: Socket, before: Group | None) -> Group:
        return group_of(socket, before, self._listeners, self._owners.owner_of)

    def _observation(
        self, groups: Counter[Group], owned: list[tuple[Listener, Owner]], parts: Parts
    ) -> Observation:
        parts.finish()
        groups.update(Group(LISTEN, owner, Direction.NONE, listener.local_port) for listener, owner in owned)
        failed = frozenset(parts.failed)
        return Observation(
            groups=None if STATES in failed else groups,
            listeners=None if LISTENERS in failed else owned,
            names={
                owner: self._name(owner)
                for owner in {g.owner for g in groups}
                if isinstance(owner, ProcessId)
            },
            unreadable=self._owners.unreadable,
            not_found_because="unreadable" if OWNERS in failed else self._owners.not_found_because,
            seconds=parts.seconds,
            failed=failed,
        )

    def _name(self, owner: ProcessId) -> str:
        return self._namer.name(self._owners.process(owner))
