"""Process names of owners during one collection."""

from __future__ import annotations

from collections.abc import Iterable

from ..model.process import Owner, ProcessId
from ..naming.rules import NameCache
from ..owners.resolver import OwnerResolver


class OwnerNames:
    """Names of the owners met during one collection."""

    def __init__(self, owners: OwnerResolver, cache: NameCache) -> None:
        self._owners = owners
        self._cache = cache
        self.known: dict[Owner, str] = {}

    def get(self, owner: ProcessId) -> str:
        """Return the name of the owner's process."""
        if owner not in self.known:
            self.known[owner] = self._cache.name(owner, self._owners.process(owner))
        return self.known[owner]

    def preload(self, owners: Iterable[Owner]) -> None:
        """Name these owners, if they are processes."""
        for owner in owners:
            if isinstance(owner, ProcessId):
                self.get(owner)
