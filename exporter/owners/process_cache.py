"""Cache of process attributes, with liveness checks."""

from __future__ import annotations

from collections.abc import Container
from typing import Protocol

from ..model.process import Process, ProcessId


class ProcessReader(Protocol):
    """Reads the attributes of processes."""

    def identify(self, owner_key: int, /) -> tuple[ProcessId, str]:
        """Return the process of this owner key, a pid on most systems, and its comm.

        Raises OSError if there is none.
        """

    def describe(self, owner_key: int, /, details: bool) -> Process:
        """Return the attributes of a process; unreadable ones are empty. Raises OSError if there is none.

        details: read more than the comm.
        """


class ProcessCache:
    """Cache of the attributes of owners, which each refresh() updates.

    details: whether naming rules need more than the comm; may be changed at any time.
    """

    def __init__(self, reader: ProcessReader, details: bool = False) -> None:
        self._reader = reader
        self.details = details
        self._alive: dict[ProcessId, Process] = {}
        # One object for each process: the classifier compares owners by id().
        self._identities: dict[ProcessId, ProcessId] = {}
        self._owner_keys: dict[ProcessId, int] = {}
        self._vanished: dict[ProcessId, Process] = {}
        self._recent: set[ProcessId] = set()

    def load(self, owner_key: int) -> ProcessId:
        """Return the process of this owner key, and read its attributes if they are unknown.

        Raises OSError if there is none.
        """
        identity, _ = self._reader.identify(owner_key)
        if identity not in self._alive:
            self._alive[identity] = self._reader.describe(owner_key, self.details)
            self._identities[identity] = identity
            self._owner_keys[identity] = owner_key
            self._recent.add(identity)
        return self._identities[identity]

    def pids(self) -> set[int]:
        """Return the pids of the loaded processes that existed at the last refresh."""
        return {owner.pid for owner in self._alive}

    def get(self, owner: ProcessId) -> Process:
        """Return the attributes of a loaded process, which may have vanished since.

        They are the same object until one of them changes, which naming.rules.NameCache relies on.
        """
        return self._alive.get(owner) or self._vanished[owner]

    def is_alive(self, owner: ProcessId) -> bool:
        """Return whether the process existed at the last refresh."""
        return owner in self._alive

    def is_recent(self, owner: ProcessId) -> bool:
        """Return whether the process was loaded after the last refresh: its pid may have been reused."""
        return owner in self._recent

    def refresh(self) -> set[ProcessId]:
        """Update the attributes, which a process can change. Return the processes that have vanished."""
        self._recent = set()
        vanished = {owner for owner in self._alive if not self._is_same(owner)}
        for owner in vanished:
            self._vanished[owner] = self._alive.pop(owner)
            del self._identities[owner], self._owner_keys[owner]
        return vanished

    def retain(self, used: Container[object]) -> None:
        """Drop vanished processes that are not in `used`. Sockets in TIME_WAIT outlive their process."""
        self._vanished = {owner: process for owner, process in self._vanished.items() if owner in used}

    def _is_same(self, owner: ProcessId) -> bool:
        try:
            owner_key = self._owner_keys[owner]
            identity, comm = self._reader.identify(owner_key)
            if identity == owner and (self.details or comm != self._alive[owner].comm):
                described = self._reader.describe(owner_key, self.details)
                if described != self._alive[owner]:
                    self._alive[owner] = described
        except OSError:
            return False
        return identity == owner
