"""One look at the host: sources -> analysis -> plain values, which the metrics are made from."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from itertools import chain
from typing import Final

from ..analysis.classify import Classifiers
from ..analysis.close_wait import Ages, classify_close_wait
from ..analysis.ephemeral import PortsTaken
from ..analysis.listening import Listeners
from ..analysis.naming import Namer
from ..analysis.reading import Reading
from ..analysis.tally import Tally
from ..analysis.time_wait import Destination, Talkers, is_unexplained
from ..log import LogOnChange
from ..model import (
    LISTEN,
    STATE_NAMES,
    Direction,
    EphemeralRange,
    Group,
    Listener,
    Owner,
    ProcessId,
)
from ..model.collectors import CollectorName
from ..sources.blocks import give_back_pages
from ..sources.busy import while_busy
from ..sources.owners import Owners
from .inputs import Readers, Source
from .look import Look, Names
from .observation import Observation
from .parts import Parts
from .progress import Progress, nothing_yet, progress

# Looking at every single socket, for the ports of each address, is repeated only so often, in seconds,
# where the reading takes longer than is hardly noticed.
CENSUS_EVERY: Final = 60.0
_DEAR: Final = 0.005
# The memory that a look at so many sockets takes for a moment is worth giving back.
_MANY: Final = 10_000

# The other parts stand on these, whether they are exported or not.
_SOCKETS: Final = frozenset({CollectorName.STATES, CollectorName.LISTENERS, CollectorName.OWNERS})
_NEEDED: Final = _SOCKETS | {CollectorName.LIMITS}


class Observer:
    """Looks at the host, and remembers what makes the next look cheap. Not for concurrent use."""

    def __init__(
        self,
        source: Source,
        owners: Owners,
        readers: Readers,
        namer: Namer,
        wanted: frozenset[CollectorName] = frozenset(CollectorName),
        clock: Callable[[], float] = time.monotonic,
        *,
        looks_again: bool = False,
    ) -> None:
        """looks_again: the first look, the dearest of all, leaves to the second what is dear and can wait."""
        self._source = source
        self._owners = owners
        self._readers = readers
        self._namer = namer
        self._wanted = wanted
        self._clock = clock
        self._log = LogOnChange(logging.getLogger(__name__))
        self._tally = Tally()
        self._listeners = Listeners()
        self._listened_before: set[tuple[bytes, int, int]] = set()
        self._talkers = Talkers()
        self._ages = Ages()
        self._classifiers = Classifiers(self._listeners, self._talkers)
        self._explained: set[Destination] = set()
        self._range: EphemeralRange | None = None
        self._ports_on_one_address: int | None = None
        self._census_waits = looks_again
        self._census_again_at = 0.0
        self.progress: Progress | None = None
        """What the look that goes on just now has found; None while none does. To be read by any thread."""

    def rename(self, namer: Namer) -> None:
        """Names processes by other rules from the next look on."""
        self._owners.tell(details=namer.needs_details)
        self._namer = namer

    def observe(self) -> Observation:
        """Looks at everything. Never raises: what failed is absent, and named in `failed`."""
        begun = self._clock()
        self.progress = nothing_yet(begun)
        try:
            observation = self._look(begun)
        finally:
            self.progress = None
        if sum((observation.groups or {}).values()) > _MANY:
            give_back_pages()
        return observation

    def _look(self, begun: float) -> Observation:
        names = Names(self._owners, self._namer)
        look = Look(Parts(self._log), names)
        self._run(look, CollectorName.LIMITS, self._read_limits)
        self.progress = progress(begun, look)
        self._run(look, CollectorName.OWNERS, self._forget_stale)
        self._run(look, CollectorName.STATES, self._read_sockets)
        self._run(look, CollectorName.LISTENERS, self._read_listeners)
        self._run(look, CollectorName.CLOSE_WAIT, self._read_close_wait)
        self.progress = progress(begun, look, self._by_state(look))
        self._run(look, CollectorName.OWNERS, self._resolve)
        self._listeners.update(self._owned(look), self._clock())
        numbering = self._tally, self._tally.numbering
        look.classify = self._classifiers.now(self._owners.owner_of, self._range, numbering)
        self._run(look, CollectorName.STATES, self._settle)
        self._run(look, CollectorName.CLOSE_WAIT, self._classify_close_wait)
        self._run(look, CollectorName.EPHEMERAL, self._count_ports)
        self._run(look, CollectorName.OWNERS, self._name_owners)
        self._run(look, CollectorName.DESCRIPTORS, self._read_descriptors)
        self._owners.keep(self._tally.owners() | self._talkers.owners())
        return self._observation(look)

    def _run(self, look: Look, part: CollectorName, step: Callable[[Look], None]) -> None:
        if part in self._wanted or part in _NEEDED:
            with look.parts.part(part):
                step(look)

    def _read_limits(self, look: Look) -> None:
        look.limits = limits = self._readers.limits()
        if limits.ephemeral != self._range:
            # Which sockets use up the range has to be said anew.
            self._range = limits.ephemeral
            self._tally = Tally()
            self._ports_on_one_address = None
            self._census_again_at = 0.0
        look.counters = self._readers.counters()
        if problems := (*limits.problems, *look.counters.problems):
            raise ValueError("; ".join(problems))

    def _forget_stale(self, look: Look) -> None:  # noqa: ARG002  # a step as the others
        stale = self._owners.refresh()
        self._tally.forget(stale)
        self._listeners.forget(stale)
        explained, self._explained = self._explained, set()
        if explained:
            self._tally.forget_time_wait(lambda group: is_unexplained(group, explained))

    def _read_sockets(self, look: Look) -> None:
        started = self._clock()
        census = (
            self._range
            if CollectorName.EPHEMERAL in self._wanted and started >= self._census_again_at
            else None
        )
        waits, self._census_waits = self._census_waits, self._census_waits and census is None

        def read() -> Reading:
            look.taken = PortsTaken(census) if census and not waits else None
            return self._tally.read(self._source.sockets(), look.taken)

        look.reading = while_busy(read)
        finished = self._clock()
        if look.taken and finished - started > _DEAR:
            self._census_again_at = finished + CENSUS_EVERY

    def _read_listeners(self, look: Look) -> None:
        look.listeners = while_busy(self._source.listeners)

    def _read_close_wait(self, look: Look) -> None:
        halves = while_busy(self._source.half_closed)
        look.aged = list(zip(halves, self._ages.ages(halves, self._clock()), strict=True))

    def _resolve(self, look: Look) -> None:
        # A listener has no cookie: one that was not there before is told by its address.
        listeners = {listener[:3] for listener in look.listeners}
        new = {holder for _, _, holder in listeners - self._listened_before}
        self._listened_before = listeners
        self._owners.doubt(chain(look.reading.new_holders(), new))
        others = look.other_holders()
        look.reading.holders.update(others)
        self._owners.resolve(look.reading.unseen_holders() | others, look.reading.holders)

    def _owned(self, look: Look) -> list[tuple[Listener, Owner]]:
        return [(listener, self._owners.owner_of(listener.holder)) for listener in look.listeners]

    def _by_state(self, look: Look) -> dict[int, int]:
        """How many sockets are in each state, as far as that is known."""
        by_state = self._tally.by_state(look.reading)
        return {state: by_state[state] for state in STATE_NAMES.keys() - self._source.to_come}

    def _settle(self, look: Look) -> None:
        """TIME_WAIT comes last: who talks to whom is told by the others."""
        tally, reading, remember = self._tally, look.reading, not look.parts.failed & _SOCKETS
        tally.settle(reading, look.classify.numbers, time_wait=False, remember=remember)
        if CollectorName.STATES not in look.parts.failed:
            # Tried again, it may count the port of a socket that has gone in between.
            reading.add(while_busy(lambda: tally.read_more(reading, self._source.rest(), look.taken)))
        # Once more, for what is no TIME_WAIT of the rest: SYN_RECV.
        tally.settle(reading, look.classify.numbers, time_wait=False, remember=remember)
        self._explained = self._talkers.update(tally.groups(reading), look.names.of, self._clock())
        tally.settle(reading, look.classify.numbers, time_wait=True, remember=remember)
        look.groups = tally.finish(reading)

    def _classify_close_wait(self, look: Look) -> None:
        before = self._tally.before([half.socket.cookie for half, _ in look.aged])
        counted = not look.parts.failed & _SOCKETS
        look.stuck = classify_close_wait(look.aged, before, look.classify, counted=counted)

    def _count_ports(self, look: Look) -> None:
        if look.taken:
            look.taken.add((each.local_address, each.local_port) for each in look.listeners)
            self._ports_on_one_address = look.taken.most()

    def _name_owners(self, look: Look) -> None:
        look.names.learn({group.owner for group in look.groups})
        look.names.learn(owner for _, owner in self._owned(look))
        look.names.learn({stuck.group.owner for stuck in look.stuck})

    def _read_descriptors(self, look: Look) -> None:
        failure: OSError | None = None
        for owner in look.names.known:
            if isinstance(owner, ProcessId) and self._owners.is_alive(owner):
                try:
                    look.descriptors[owner] = self._readers.descriptors(owner.pid)
                except (PermissionError, FileNotFoundError, ProcessLookupError):
                    continue  # Gone, or not to be looked into.
                except OSError as error:
                    failure = error
        if failure:
            raise failure

    def _observation(self, look: Look) -> Observation:
        look.parts.finish()
        owned = self._owned(look)
        groups = look.groups
        groups.update(Group(LISTEN, owner, Direction.NONE, listener.local_port) for listener, owner in owned)
        failed = frozenset(look.parts.failed)
        stands = {part for part in self._wanted if part not in failed}
        return Observation(
            groups=None if CollectorName.STATES in failed else groups,
            listeners=None if CollectorName.LISTENERS in failed else owned,
            names=look.names.known,
            unreadable=dict(self._owners.unreadable),
            not_found_because="unreadable"
            if CollectorName.OWNERS in failed
            else self._owners.not_found_because,
            seconds=look.parts.seconds,
            failed=failed,
            stuck=look.stuck if CollectorName.CLOSE_WAIT in stands else None,
            queues=self._tally.queues(look.reading) if CollectorName.STATES not in failed else None,
            ports_on_one_address=self._ports_on_one_address if CollectorName.EPHEMERAL in stands else None,
            limits=look.limits,
            counters=look.counters,
            descriptors=look.descriptors,
            source=self._source.name,
        )
