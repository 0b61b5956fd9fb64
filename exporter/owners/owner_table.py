"""The owners of sockets that were found so far."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable
from typing import Final

from ..model.process import Owner, Process, ProcessId, Unowned
from ..model.sockets import NO_OWNER_KEY
from .process_cache import Facts

MAX_ENTRIES_RATIO: Final = 1.25
"""Entries of a dict, deleted ones included, for each that is used; with more the dict is rebuilt. CPython
never reuses the slots of deleted entries and doubles a full table, by 2.5 MiB at 75,000 entries."""


class ByHolder(dict[int, ProcessId]):
    """The owners found so far, by holder."""

    _gone = 0

    def without(self, owner_keys: Iterable[int]) -> ByHolder:
        """The same without these, who have to be among them."""
        for owner_key in owner_keys:
            del self[owner_key]
            self._gone += 1
        return ByHolder(self) if len(self) + self._gone > MAX_ENTRIES_RATIO * len(self) else self

    def __missing__(self, owner_key: int) -> Unowned:
        return Unowned.RELEASED if owner_key == NO_OWNER_KEY else Unowned.NOT_FOUND


class KnownOwners:
    """The owners found so far, by holder, and their facts."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self._owners = ByHolder()

    @property
    def owner_of(self) -> Callable[[int], Owner]:
        """Asked for each socket, it runs in C where the owner is known."""
        return self._owners.__getitem__

    def process(self, owner: ProcessId) -> Process:
        return self._facts.get(owner)

    def is_alive(self, owner: ProcessId) -> bool:
        return self._facts.is_alive(owner)

    def tell(self, *, details: bool) -> None:
        self._facts.details = details

    def keep(self, used: Container[object]) -> None:
        self._facts.keep(used)
