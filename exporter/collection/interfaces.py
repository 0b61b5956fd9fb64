"""Interfaces of the sources that a collection reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from ..model.host import FdUsage, KernelCounters, SysctlLimits
from ..model.sockets import CloseWaitSocket, Listener, SocketBatch


class SocketSource(Protocol):
    """Reads the TCP sockets of a host."""

    @property
    def name(self) -> str:
        """Value of the label `source` of socket_exporter_build_info."""

    @property
    def has_bound_sockets(self) -> bool:
        """Whether full_sockets() has sockets that are bound to a port, and not connected."""

    def full_sockets(self) -> Iterator[SocketBatch]:
        """Return all sockets except listeners and those of pending_states.

        Raises NetlinkError, psutil.Error or OSError, possibly after some batches; so do the other methods.
        """

    def minisocks(self) -> Iterator[SocketBatch]:
        """Return the sockets of pending_states, which have no owner. Must be called after full_sockets()."""

    @property
    def pending_states(self) -> frozenset[int]:
        """States that only minisocks() returns. Valid when full_sockets() is exhausted."""

    def listeners(self) -> list[Listener]:
        """Return all listening sockets. Must be called after full_sockets()."""

    def close_wait_sockets(self) -> list[CloseWaitSocket]:
        """Return the sockets in CLOSE_WAIT with queues and times. Must be called after full_sockets()."""


@dataclass(frozen=True, slots=True)
class HostReaders:
    """Functions that read data of the host other than sockets and their owners."""

    read_limits: Callable[[], SysctlLimits]
    read_counters: Callable[[], KernelCounters]
    read_fd_usage: Callable[[int], FdUsage]
    """pid -> its file descriptor usage. Raises OSError if that is not readable."""
    read_workers: Callable[[int], Sequence[int]] = lambda _: ()
    """pid -> pids of its workers. Raises OSError if that is not readable."""
    read_handle_count: Callable[[int], int] | None = None
    """pid -> number of its open handles, on Windows. Raises OSError if that is not readable."""
