"""Owner resolution for sources whose owner keys are pids (psutil)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable

from ..model.process import Owner
from ..model.sockets import HIDDEN_OWNER_KEY, NO_OWNER_KEY
from .owner_table import CachedOwnerResolver, OwnerTable
from .process_cache import ProcessCache
from .resolver import LiveSockets, failure_reason


class PidOwnerResolver(CachedOwnerResolver):
    """Reads the attributes of the process that each owner key names."""

    def __init__(self, processes: ProcessCache) -> None:
        super().__init__(processes)
        self.unreadable: Counter[str] = Counter()
        # Whether the source has ever hidden an owner: its permissions last as long as the exporter.
        self._hidden_owners = False

    @property
    def unresolved_reason(self) -> str:
        return "unreadable" if self._hidden_owners or self.unreadable["permission"] else "not_found"

    def refresh(self) -> set[Owner]:
        vanished = self._processes.refresh()
        self._owners = OwnerTable(entry for entry in self._owners.items() if entry[1] not in vanished)
        return set(vanished)

    def revalidate(self, owner_keys: Iterable[int]) -> None:
        """Do nothing: refresh() detects a reused pid."""

    def resolve(self, owner_keys: Collection[int], live: LiveSockets) -> None:  # noqa: ARG002  # the interface's
        self.unreadable = Counter()
        self._hidden_owners |= HIDDEN_OWNER_KEY in owner_keys
        for pid in set(owner_keys) - self._owners.keys() - {NO_OWNER_KEY, HIDDEN_OWNER_KEY}:
            try:
                self._owners[pid] = self._processes.load(pid)
            except OSError as error:
                self.unreadable[failure_reason(error)] += 1
