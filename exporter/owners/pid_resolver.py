"""Owner resolution for sources whose owner keys are pids, or pairs of pid and service (psutil, iphlpapi)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import Final

from ..model.process import Owner, ProcessId
from ..model.sockets import HIDDEN_OWNER_KEY, NO_OWNER_KEY, STALE_OWNER_KEY
from .owner_table import CachedOwnerResolver, OwnerTable
from .process_cache import ProcessCache
from .resolver import LiveOwnerKeys, failure_reason

_NO_PIDS: Final = frozenset({NO_OWNER_KEY, HIDDEN_OWNER_KEY, STALE_OWNER_KEY})


class PidOwnerResolver(CachedOwnerResolver):
    """Resolver for owner keys that are pids."""

    def __init__(self, processes: ProcessCache) -> None:
        super().__init__(processes)
        self.unreadable_processes: Counter[str] = Counter()
        # Whether the source has ever hidden an owner. Its permissions do not change while the exporter runs.
        self._hidden_owners = False

    @property
    def unresolved_reason(self) -> str:
        return "unreadable" if self._hidden_owners or self.unreadable_processes["permission"] else "not_found"

    @property
    def transferred(self) -> Mapping[int, ProcessId]:
        """Return nothing: the source reads the owner of every socket."""
        return {}

    def refresh(self) -> set[Owner]:
        vanished = self._processes.refresh()
        self._owners = OwnerTable(entry for entry in self._owners.items() if entry[1] not in vanished)
        return set(vanished)

    def revalidate(self, owner_keys: Iterable[int]) -> None:
        """Do nothing: refresh() detects a reused pid."""

    def resolve(self, owner_keys: Collection[int], live: LiveOwnerKeys) -> None:  # noqa: ARG002  # part of the interface
        self.unreadable_processes = Counter()
        self._hidden_owners |= HIDDEN_OWNER_KEY in owner_keys
        for owner_key in set(owner_keys) - self._owners.keys() - _NO_PIDS:
            try:
                self._owners[owner_key] = owner = self._processes.load(owner_key)
                if owner.service:
                    self._processes.load(owner.pid)  # the process itself owns the handles
            except OSError as error:
                self.unreadable_processes[failure_reason(error)] += 1
