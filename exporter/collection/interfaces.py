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

    def full_sockets(self) -> Iterator[SocketBatch]:
        """Return all sockets except listeners and those of pending_states. Raises as the source does."""

    def minisocks(self) -> Iterator[SocketBatch]:
        """Return the sockets of pending_states, which have no owner. To be called after full_sockets()."""

    @property
    def pending_states(self) -> frozenset[int]:
        """States that only minisocks() returns, known once full_sockets() is exhausted."""

    def listeners(self) -> list[Listener]:
        """Return all listening sockets. To be called after full_sockets()."""

    def close_wait_sockets(self) -> list[CloseWaitSocket]:
        """Return the sockets in CLOSE_WAIT in detail. To be called after full_sockets()."""


@dataclass(frozen=True, slots=True)
class HostReaders:
    """Functions that read what is not a socket or its owner."""

    limits: Callable[[], SysctlLimits]
    counters: Callable[[], KernelCounters]
    fd_usage: Callable[[int], FdUsage]
    """pid -> its file descriptor usage. Raises OSError if it cannot be read."""
