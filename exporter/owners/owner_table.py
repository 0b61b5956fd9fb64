"""Table of resolved owners, and the base class of both resolvers."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable
from typing import Final

from ..model.process import Owner, Process, ProcessId, Unowned
from ..model.sockets import NO_OWNER_KEY
from .process_cache import ProcessCache

MAX_ENTRIES_RATIO: Final = 1.25
"""Maximum ratio of entries in a dict, including deleted ones, to used ones, above which the dict is rebuilt.
CPython never reuses the slots of deleted entries and doubles a full table, by 2.5 MiB at 75,000 entries."""


class OwnerTable(dict[int, ProcessId]):
    """Resolved owners by owner key. NO_OWNER_KEY gives RELEASED, any other missing key NOT_FOUND."""

    _deleted = 0

    def drop(self, owner_keys: Iterable[int]) -> OwnerTable:
        """Delete these keys, which must exist. Return the table, or a new one if too many are deleted."""
        for owner_key in owner_keys:
            del self[owner_key]
            self._deleted += 1
        return OwnerTable(self) if len(self) + self._deleted > MAX_ENTRIES_RATIO * len(self) else self

    def __missing__(self, owner_key: int) -> Unowned:
        return Unowned.RELEASED if owner_key == NO_OWNER_KEY else Unowned.NOT_FOUND


class CachedOwnerResolver:
    """Base class of the resolvers: resolved owners, and the attributes of their processes."""

    def __init__(self, processes: ProcessCache) -> None:
        self._processes = processes
        self._owners = OwnerTable()

    @property
    def owner_of(self) -> Callable[[int], Owner]:
        """Function: owner key -> owner. Called for each socket, it runs no Python code for a known key."""
        return self._owners.__getitem__

    def process(self, owner: ProcessId) -> Process:
        return self._processes.get(owner)

    def is_alive(self, owner: ProcessId) -> bool:
        return self._processes.is_alive(owner)

    def set_details(self, *, details: bool) -> None:
        self._processes.details = details

    def retain(self, used: Container[object]) -> None:
        self._processes.retain(used)
