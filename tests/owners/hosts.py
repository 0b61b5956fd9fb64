"""A host with a simulated /proc, and the owners of its sockets."""

from __future__ import annotations

from collections.abc import Collection

from exporter.model.process import Owner, ProcessId
from exporter.model.sockets import NO_OWNER_KEY
from exporter.owners.fd_scanner import FdScanner
from exporter.owners.inode_resolver import InodeOwnerResolver
from exporter.owners.process_cache import ProcessCache
from exporter.procfs.process_reader import ProcfsProcessReader

from ..procfs.trees import Clock, Tree

ALL = (101, 102, 201, 202, 301, 302)
"""The inodes of processes 10, 20 and 30, two sockets each."""


class LiveSockets(set[int]):
    """Owner keys of all sockets, as the resolver gets them."""

    def all(self) -> set[int]:
        return set(self)


class Host:
    """Owner resolution on a tree. `live` are all sockets, one without owner among them."""

    def __init__(self, tree: Tree, clock: Clock) -> None:
        self.owners = InodeOwnerResolver(
            FdScanner(tree.root, clock), ProcessCache(ProcfsProcessReader(tree.root)), clock
        )
        self.live: set[int] = {NO_OWNER_KEY}
        self.asked_for_live = 0

    def all(self) -> set[int]:
        self.asked_for_live += 1
        return self.live

    def resolve(self, *owner_keys: int) -> list[Owner]:
        """Resolve these owner keys, which are live from now on; return the owners."""
        self.owners.revalidate(set(owner_keys) - self.live)
        self.live.update(owner_keys)
        self.owners.resolve(owner_keys, self)
        return [self.owners.owner_of(owner_key) for owner_key in owner_keys]

    def pids(self, *owner_keys: int) -> list[int | None]:
        """The same, by pid."""
        found = self.resolve(*owner_keys)
        return [owner.pid if isinstance(owner, ProcessId) else None for owner in found]


def found(scanner: FdScanner, wanted: Collection[int], live: Collection[int] = ALL) -> list[tuple[int, int]]:
    """Return all sockets found by a scan, with their processes."""
    return [(inode, pid) for inodes, pid in scanner.search(wanted, lambda: set(live)) for inode in inodes]
