"""Sorts the sockets of one run of messages into batches by their kind. Pure.

No Python code runs for a socket: what is asked of each is asked of bytes, or of one big integer with a byte
for each socket, in C.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache, partial
from itertools import compress
from typing import Final, TypeVar

from ..model.sockets import KeySpace, SocketBatch, SocketKey, SocketTable
from .messages import KernelRows

_UNHELD: Final = 16
_UNHELD_WHERE_ZERO: Final = bytes([_UNHELD, *bytes(255)])

_Item = TypeVar("_Item")


def batches_of(rows: KernelRows) -> Iterator[SocketBatch]:
    """A batch for each kind that there is among these sockets; the first has the holders of all."""
    codes = _codes(rows)
    kinds = sorted(set(codes))
    keys, queues = rows.cookies(), rows.have_queues()
    owner_keys = rows.owner_key_column() if any(code < _UNHELD for code in kinds) else b""
    for code in kinds:
        kind = KeySpace(code & ~_UNHELD, not code & _UNHELD)
        chosen = codes.translate(_only(code))
        choose: Callable[[Iterable[_Item]], Sequence[_Item]]
        choose = partial(_chosen, chosen) if len(kinds) > 1 else list
        some = _Some(rows, chosen) if len(kinds) > 1 else rows
        queued = queues & int.from_bytes(chosen, "little")
        yield SocketBatch(
            kind,
            choose(keys),
            owner_keys,
            some.select,
            some.local_endpoints,
            _queued(rows, keys, queued) if queued else (),
        )
        owner_keys = b""


class _Some:
    """Those of the sockets that are chosen: 255 for each of them, 0 for each other."""

    def __init__(self, rows: KernelRows, chosen: bytes) -> None:
        self._rows = rows
        self._chosen = chosen

    def select(self, positions: Sequence[int]) -> SocketTable:
        places = _chosen(self._chosen, range(len(self._rows)))
        return self._rows.select([places[position] for position in positions])

    def local_endpoints(self, first: int, last: int) -> Iterable[tuple[bytes, int]]:
        return self.select(range(self._chosen.count(255))).local_endpoints(first, last)


def _codes(rows: KernelRows) -> bytes:
    """The state of each socket, and another number where nobody holds it."""
    held = rows.are_held().to_bytes(len(rows), "little")
    unheld = held.translate(_UNHELD_WHERE_ZERO)
    return _either(rows.states(), unheld)


def _either(one: bytes, other: bytes) -> bytes:
    both = int.from_bytes(one, "little") | int.from_bytes(other, "little")
    return both.to_bytes(len(one), "little")


@cache
def _only(code: int) -> bytes:
    """What translates codes into 255 for this one and 0 for all others."""
    return bytes(255 if each == code else 0 for each in range(256))


def _chosen(chosen: bytes, column: Iterable[_Item]) -> list[_Item]:
    return list(compress(column, chosen))


def _queued(rows: KernelRows, keys: Sequence[SocketKey], marks: int) -> Sequence[tuple[SocketKey, int, int]]:
    unread, unacknowledged = rows.queues()
    places = _chosen(marks.to_bytes(len(rows), "little"), range(len(rows)))
    return [(keys[place], unread[place], unacknowledged[place]) for place in places]
