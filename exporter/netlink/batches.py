"""Splits the sockets of one message size into a batch for each key space. Pure.

No Python code runs for a single socket: every column is a bytes object, or one big integer with a byte for
each socket, and is processed in C.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache, partial
from itertools import compress
from typing import Final, TypeVar

from ..model.sockets import KeySpace, SocketBatch, SocketKey, SocketTable
from .inet_diag import InetDiagTable

# Code of a key space in one byte: the state, plus this bit for sockets without an owner.
_NO_OWNER_BIT: Final = 16
_NO_OWNER_BIT_WHERE_ZERO: Final = bytes([_NO_OWNER_BIT, *bytes(255)])

_Item = TypeVar("_Item")


def split_by_keyspace(table: InetDiagTable) -> Iterator[SocketBatch]:
    """Yield a batch for each key space of these sockets. The first one has the owner keys of all."""
    codes = _keyspace_codes(table)
    distinct = sorted(set(codes))
    keys, queued = table.cookies(), table.queued_mask()
    owner_keys = table.owner_key_column() if any(code < _NO_OWNER_BIT for code in distinct) else b""
    for code in distinct:
        keyspace = KeySpace(code & ~_NO_OWNER_BIT, not code & _NO_OWNER_BIT)
        mask = codes.translate(_mask_table(code))
        select: Callable[[Iterable[_Item]], Sequence[_Item]]
        select = partial(_select, mask) if len(distinct) > 1 else list
        selection = _Selection(table, mask) if len(distinct) > 1 else table
        queued_here = queued & int.from_bytes(mask, "little")
        yield SocketBatch(
            keyspace,
            select(keys),
            owner_keys,
            selection.select,
            selection.local_endpoints,
            _nonempty_queues(table, keys, queued_here) if queued_here else (),
        )
        owner_keys = b""


class _Selection:
    """Selection of rows of a table. mask: 255 for each selected row, 0 for each other."""

    def __init__(self, table: InetDiagTable, mask: bytes) -> None:
        self._table = table
        self._mask = mask

    def select(self, positions: Sequence[int]) -> SocketTable:
        table_positions = _select(self._mask, range(len(self._table)))
        return self._table.select([table_positions[position] for position in positions])

    def local_endpoints(self, min_port: int, max_port: int) -> Iterable[tuple[bytes, int]]:
        return self.select(range(self._mask.count(255))).local_endpoints(min_port, max_port)


def _keyspace_codes(table: InetDiagTable) -> bytes:
    """Return the key space of each socket as one byte."""
    owned = table.owned_mask().to_bytes(len(table), "little")
    return _bytes_or(table.states(), owned.translate(_NO_OWNER_BIT_WHERE_ZERO))


def _bytes_or(left: bytes, right: bytes) -> bytes:
    result = int.from_bytes(left, "little") | int.from_bytes(right, "little")
    return result.to_bytes(len(left), "little")


@cache
def _mask_table(code: int) -> bytes:
    """Return a translation table that maps this code to 255 and every other one to 0."""
    return bytes(255 if other == code else 0 for other in range(256))


def _select(mask: bytes, column: Iterable[_Item]) -> list[_Item]:
    return list(compress(column, mask))


def _nonempty_queues(
    table: InetDiagTable, keys: Sequence[SocketKey], mask: int
) -> Sequence[tuple[SocketKey, int, int]]:
    receive_queues, send_queues = table.queues()
    positions = _select(mask.to_bytes(len(table), "little"), range(len(table)))
    return [(keys[position], receive_queues[position], send_queues[position]) for position in positions]
