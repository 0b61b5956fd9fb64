"""Steps of a collection that find dead file descriptors."""

from __future__ import annotations

from collections.abc import Sequence, Set
from typing import Final

from ..model.collectors import CollectorName
from ..model.dead_fds import DeadFd
from ..model.sockets import Listener
from ..owners.dead_fd_finder import DeadFdFinder
from ..owners.resolver import LiveOwnerKeys, OwnerResolver
from .collector_runs import CollectorRuns

# A socket that could not be read is not dead, and without /proc there are no descriptors.
_DUMPS: Final = frozenset({CollectorName.STATES, CollectorName.LISTENERS})
_REQUIRED: Final = _DUMPS | {CollectorName.OWNERS}


class DeadFdSteps:
    """The steps of one collection, which belong to the collector `descriptors`.

    finder: None if the source does not tell which sockets a process has open.
    """

    def __init__(self, finder: DeadFdFinder | None, runs: CollectorRuns, resolver: OwnerResolver) -> None:
        self._finder = finder
        self._runs = runs
        self._resolver = resolver

    def observe(self, live: LiveOwnerKeys, listeners: Sequence[Listener]) -> None:
        """Compare the dump with the descriptor tables, before owners are resolved."""
        if (finder := self._finder) is None or not self._has_succeeded(_DUMPS):
            return
        listening = [listener.owner_key for listener in listeners]
        self._runs.run(
            CollectorName.DESCRIPTORS,
            lambda: finder.observe(live.all(), listening, self._resolver.owner_of),
            None,
        )

    def find(self, live: LiveOwnerKeys) -> list[DeadFd] | None:
        """Return the dead descriptors, after owners are resolved; None if they could not be read."""
        if (finder := self._finder) is None or not self._has_succeeded(_REQUIRED):
            return None
        return self._runs.run(
            CollectorName.DESCRIPTORS, lambda: finder.find(live.all(), self._resolver.owner_of), None
        )

    def _has_succeeded(self, collectors: Set[CollectorName]) -> bool:
        return not (collectors | {CollectorName.DESCRIPTORS}) & self._runs.failed
