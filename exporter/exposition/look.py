"""What one look at the host is made of, while it is being made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from ..analysis.classify import Classifier
from ..analysis.ephemeral import PortsTaken
from ..analysis.naming import Namer
from ..analysis.reading import Reading
from ..model import (
    ClassifiedCloseWait,
    Descriptors,
    Group,
    HalfClosed,
    KernelCounters,
    Limits,
    Listener,
    Owner,
    ProcessId,
)
from ..sources.owners import Owners
from .parts import Parts


class Names:
    """Names owners during one look, each once."""

    def __init__(self, owners: Owners, namer: Namer) -> None:
        self._owners = owners
        self._namer = namer
        self.known: dict[Owner, str] = {}

    def of(self, owner: ProcessId) -> str:
        if owner not in self.known:
            self.known[owner] = self._namer.name(self._owners.process(owner))
        return self.known[owner]

    def learn(self, owners: Iterable[Owner]) -> None:
        for owner in owners:
            if isinstance(owner, ProcessId):
                self.of(owner)


@dataclass(slots=True)
class Look:
    """What one look has found so far."""

    parts: Parts
    names: Names
    classify: Classifier = field(init=False)
    reading: Reading = field(default_factory=Reading)
    taken: PortsTaken | None = None
    """The ports taken on each local address, where this look counts them."""
    listeners: list[Listener] = field(default_factory=list)
    aged: list[tuple[HalfClosed, float]] = field(default_factory=list)
    """The connections in CLOSE_WAIT and their ages."""
    groups: Counter[Group] = field(default_factory=Counter)
    stuck: list[ClassifiedCloseWait] = field(default_factory=list)
    limits: Limits | None = None
    counters: KernelCounters | None = None
    descriptors: dict[ProcessId, Descriptors] = field(default_factory=dict)

    def other_holders(self) -> set[int]:
        """The holders of listeners and of connections in CLOSE_WAIT."""
        holders = {listener.holder for listener in self.listeners}
        return holders | {half.socket.holder for half, _ in self.aged}
