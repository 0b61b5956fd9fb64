"""Where a look takes what it looks at from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from ..model import Batch, Descriptors, HalfClosed, KernelCounters, Limits, Listener


class Source(Protocol):
    """Where sockets are read from."""

    @property
    def name(self) -> str:
        """What build_info calls it."""

    def sockets(self) -> Iterator[Batch]:
        """All TCP sockets but listeners and what rest() gives."""

    def rest(self) -> Iterator[Batch]:
        """Those sockets that nobody can hold and that sockets() left out; ask for them later."""

    @property
    def to_come(self) -> frozenset[int]:
        """States of sockets that only rest() will tell of, once sockets() has ended."""

    def listeners(self) -> list[Listener]:
        """All listening TCP sockets; ask for them after sockets()."""

    def half_closed(self) -> list[HalfClosed]:
        """The connections in CLOSE_WAIT, more closely; ask for them after sockets()."""


@dataclass(frozen=True, slots=True)
class Readers:
    """What is read beside sockets and their owners."""

    limits: Callable[[], Limits]
    counters: Callable[[], KernelCounters]
    descriptors: Callable[[int], Descriptors]
    """pid -> its descriptors. Raises OSError where it cannot be read."""
