"""The facts of the processes that own sockets: kept while something is said of them."""

from __future__ import annotations

from collections.abc import Container
from typing import Protocol

from ..model.process import Process, ProcessId


class ProcessReader(Protocol):
    """Reads the attributes of processes."""

    def identify(self, pid: int) -> tuple[ProcessId, str]:
        """Return the process that has this pid now, and its comm. Raises OSError when it is gone."""

    def describe(self, pid: int, details: bool) -> Process:
        """Return the attributes of a process: its comm, and all others if `details`. Unreadable ones stay
        empty. Raises OSError when it is gone.
        """


class Facts:
    """Process facts by owner, read when first needed and checked at each refresh.

    details: whether naming needs more than the comm; may change at any time.
    """

    def __init__(self, reader: ProcessReader, details: bool = False) -> None:
        self._reader = reader
        self.details = details
        self._living: dict[ProcessId, Process] = {}
        # One object for each process, so that who compares owners can do it by identity.
        self._identities: dict[ProcessId, ProcessId] = {}
        self._dead: dict[ProcessId, Process] = {}
        self._new: set[ProcessId] = set()

    def learn(self, pid: int) -> ProcessId:
        """Reads a process. Raises OSError when it is gone."""
        identity, _ = self._reader.identify(pid)
        if identity not in self._living:
            self._living[identity] = self._reader.describe(pid, self.details)
            self._identities[identity] = identity
            self._new.add(identity)
        return self._identities[identity]

    def get(self, owner: ProcessId) -> Process:
        """The facts of a process that learn() has seen, also when it died since. They are the same object
        until one of them changes: names are made again only then (see naming.rules.NameCache)."""
        return self._living.get(owner) or self._dead[owner]

    def is_alive(self, owner: ProcessId) -> bool:
        """Whether the process lived when it was last looked at."""
        return owner in self._living

    def is_new(self, owner: ProcessId) -> bool:
        """Whether it was learned since the last refresh: who had its pid a moment before is not known."""
        return owner in self._new

    def refresh(self) -> set[ProcessId]:
        """Reads the facts again, since a process can take another name; returns those that died."""
        self._new = set()
        died = {owner for owner in self._living if not self._is_still(owner)}
        for owner in died:
            self._dead[owner] = self._living.pop(owner)
            del self._identities[owner]
        return died

    def keep(self, used: Container[object]) -> None:
        """Drops the dead of which nothing is said any more; their TIME_WAIT outlives them."""
        self._dead = {owner: process for owner, process in self._dead.items() if owner in used}

    def _is_still(self, owner: ProcessId) -> bool:
        try:
            identity, comm = self._reader.identify(owner.pid)
            if identity == owner and (self.details or comm != self._living[owner].comm):
                described = self._reader.describe(owner.pid, self.details)
                if described != self._living[owner]:
                    self._living[owner] = described
        except OSError:
            return False
        return identity == owner
