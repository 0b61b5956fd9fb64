"""Process names of owners during one collection."""

from __future__ import annotations

from collections.abc import Iterable

from ..model.process import Owner, ProcessId
from ..naming.rules import Namer
from ..owners.resolver import Owners


class OwnerNames:
    """Names each owner's process once per collection."""

    def __init__(self, owners: Owners, namer: Namer) -> None:
        self._owners = owners
        self._namer = namer
        self.known: dict[Owner, str] = {}

    def get(self, owner: ProcessId) -> str:
        """Return the name of the owner's process."""
        if owner not in self.known:
            self.known[owner] = self._namer.name(self._owners.process(owner))
        return self.known[owner]

    def preload(self, owners: Iterable[Owner]) -> None:
        """Name these owners, if they are processes."""
        for owner in owners:
            if isinstance(owner, ProcessId):
                self.get(owner)
