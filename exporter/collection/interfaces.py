"""What a collection reads from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from ..model.host import FdUsage, KernelCounters, SysctlLimits
from ..model.sockets import CloseWaitSocket, Listener, SocketBatch


class SocketSource(Protocol):
    """Reads the TCP sockets of a host."""

    @property
    def name(self) -> str:
        """The label `source` of build_info."""

    def sockets(self) -> Iterator[SocketBatch]:
        """Return all sockets except listeners and those that rest() returns."""

    def rest(self) -> Iterator[SocketBatch]:
        """Return the sockets without owner that sockets() left out. To be called after it."""

    @property
    def to_come(self) -> frozenset[int]:
        """States that only rest() returns, known once sockets() is exhausted."""

    def listeners(self) -> list[Listener]:
        """Return all listening sockets. To be called after sockets()."""

    def half_closed(self) -> list[CloseWaitSocket]:
        """Return the sockets in CLOSE_WAIT in detail. To be called after sockets()."""


@dataclass(frozen=True, slots=True)
class HostReaders:
    """Functions that read what is not a socket or its owner."""

    limits: Callable[[], SysctlLimits]
    counters: Callable[[], KernelCounters]
    descriptors: Callable[[int], FdUsage]
    """pid -> its file descriptor usage. Raises OSError if it cannot be read."""
