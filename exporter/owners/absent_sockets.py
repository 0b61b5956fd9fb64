"""Sockets of the descriptor tables that are absent from the dumps of successive collections. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Set
from typing import Final

from ..model.process import Owner, ProcessId

_TCP: Final = frozenset({"TCP", "TCPv6"})
_MPTCP: Final = "MPTCP"


class AbsentSockets:
    """Absent sockets by inode, each with the time of the first dump that lacked it.

    A single dump may be older than the socket, or miss it: the kernel resumes a dump by the position in a
    hash bucket (inet_diag_dump_icsk in net/ipv4/inet_diag.c), which changes when another socket of the bucket
    is closed. Candidates for dead sockets are those that two successive dumps lack.
    """

    def __init__(self) -> None:
        self._since: dict[int, float] = {}
        self._connected: set[int] = set()
        self._new: set[int] = set()
        self._confirmed: set[int] = set()
        # Protocols of sockets, which never change. Sockets that are no longer absent are forgotten.
        self._other_protocols: set[int] = set()
        self._mptcp: set[int] = set()
        self._tcp: set[int] = set()
        # Listeners and bound-only sockets of the previous collection.
        self._unconnected: Set[int] = frozenset()

    def update(
        self, absent: set[int], now: float, owner_of: Callable[[int], Owner], unconnected: Iterable[int]
    ) -> None:
        """Replace the absent sockets. The others are forgotten: they are in a table again, or closed.

        absent: sockets that had been read from a descriptor before the dump began, and that it lacks.
        now: time of the dump, in seconds of a monotonic clock.
        owner_of: owner key -> its owner in the previous collection.
        unconnected: listeners and bound-only sockets of this dump.
        """
        self._other_protocols &= absent
        absent = absent - self._other_protocols
        for known in (self._connected, self._confirmed, self._mptcp, self._tcp):
            known &= absent
        for inode in self._since.keys() - absent:
            del self._since[inode]
        self._new = absent - self._since.keys()
        self._since.update(dict.fromkeys(self._new, now))
        new = list(self._new)
        owned = {
            inode
            for inode, owner in zip(new, map(owner_of, new), strict=True)
            if isinstance(owner, ProcessId)
        }
        self._connected |= owned - self._unconnected
        self._unconnected = frozenset(unconnected)

    def candidates(self, *, has_current_bound_only: bool) -> set[int]:
        """Return the sockets that this dump and the previous one lack, except those of other protocols.

        has_current_bound_only: whether this dump has read the bound-only sockets. If not, a socket without
            an earlier connection may have been bound since they were last read.
        """
        candidates = self._since.keys() - self._new
        if not has_current_bound_only:
            candidates &= self._connected | self._confirmed
        return candidates

    def was_connected(self, inodes: Iterable[int]) -> list[bool]:
        """Return for each absent socket whether an earlier collection contained it with a connection."""
        return list(map(self._connected.__contains__, inodes))

    def since(self, inodes: Iterable[int]) -> list[float]:
        """Return for each absent socket the time of the first dump that lacked it."""
        return list(map(self._since.__getitem__, inodes))

    def has_tcp(self) -> bool:
        """Return whether the protocol of any absent socket is known to be TCP or MPTCP."""
        return bool(self._tcp or self._mptcp)

    def has_protocol(self, inode: int) -> bool:
        """Return whether the protocol of an absent socket is known."""
        return inode in self._tcp or inode in self._mptcp

    def set_protocol(self, inode: int, protocol: str) -> None:
        """Set the protocol of an absent socket. Those of other protocols than TCP are no candidates."""
        if protocol in _TCP:
            self._tcp.add(inode)
        elif protocol == _MPTCP:
            self._mptcp.add(inode)
        else:
            self._other_protocols.add(inode)
            self._since.pop(inode, None)

    def confirm(self, inodes: Collection[int], read_mptcp: Callable[[], Collection[int] | None]) -> set[int]:
        """Return those of these candidates that are dead.

        Not those whose protocol is unknown, and not MPTCP sockets in the MPTCP table: without a subflow they
        are in no TCP table.

        read_mptcp: returns the inodes of all MPTCP sockets now; None if they cannot be read, and no MPTCP
            socket is dead then.
        """
        dead = self._tcp.intersection(inodes)
        mptcp = self._mptcp.intersection(inodes)
        dead |= mptcp & self._confirmed
        if mptcp := mptcp - self._confirmed:
            live = read_mptcp()
            dead |= set() if live is None else mptcp.difference(live)
        self._confirmed |= dead
        return dead
