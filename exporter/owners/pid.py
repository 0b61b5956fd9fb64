"""Who holds a socket: pid -> process (psutil)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable

from ..model.process import Owner
from ..model.sockets import HIDDEN_OWNER_KEY, NO_OWNER_KEY
from .owner_table import ByHolder, KnownOwners
from .process_cache import Facts
from .resolver import Live, reason_of


class PidOwners(KnownOwners):
    """For a source that knows the pid of each socket: only the facts are still to be read."""

    def __init__(self, facts: Facts) -> None:
        super().__init__(facts)
        self.unreadable: Counter[str] = Counter()
        # Whether the source may not see everybody: who may, may for its whole life.
        self._unseen = False

    @property
    def not_found_because(self) -> str:
        return "unreadable" if self._unseen or self.unreadable["permission"] else "not_found"

    def refresh(self) -> set[Owner]:
        died = self._facts.refresh()
        self._owners = ByHolder(entry for entry in self._owners.items() if entry[1] not in died)
        return set(died)

    def doubt(self, owner_keys: Iterable[int]) -> None:
        """A pid that is used again is noticed by refresh()."""

    def resolve(self, owner_keys: Collection[int], live: Live) -> None:  # noqa: ARG002  # the protocol's
        self.unreadable = Counter()
        self._unseen |= HIDDEN_OWNER_KEY in owner_keys
        for pid in set(owner_keys) - self._owners.keys() - {NO_OWNER_KEY, HIDDEN_OWNER_KEY}:
            try:
                self._owners[pid] = self._facts.learn(pid)
            except OSError as failure:
                self.unreadable[reason_of(failure)] += 1
