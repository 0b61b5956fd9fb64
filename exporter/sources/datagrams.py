"""Receives many datagrams with one system call: recvmmsg(2), which Python's socket module does not have.

Python lets other threads run while the call lasts, and needs no step of its own for each datagram.
Importable on Linux only.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import groupby
from typing import Any, Final

# Half a megabyte: the kernel takes about 3 ms to make so many.
NUMBER: Final = 16


class _IoVec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("size", ctypes.c_size_t))


class _MsgHdr(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_size", ctypes.c_uint),
        ("parts", ctypes.POINTER(_IoVec)),
        ("number_of_parts", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_size", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


class _MMsgHdr(ctypes.Structure):
    _fields_ = (("header", _MsgHdr), ("size", ctypes.c_uint))


@cache
def _recvmmsg() -> Any:
    function = ctypes.CDLL(None, use_errno=True).recvmmsg
    function.argtypes = (ctypes.c_int, ctypes.POINTER(_MMsgHdr), ctypes.c_uint, ctypes.c_int, ctypes.c_void_p)
    return function


class Datagrams:
    """Room for NUMBER datagrams, filled again and again.

    usual: the size of most datagrams. Those of this size lie one after the other in memory, and are given
    as one. longest: none is longer.
    """

    def __init__(self, usual: int, longest: int) -> None:
        self._usual = usual
        self._excess = max(longest - usual, 0)
        self._bytes = bytearray(NUMBER * usual)
        self._excesses = bytearray(NUMBER * self._excess)
        starts = zip(_places(self._bytes, usual), _places(self._excesses, self._excess), strict=True)
        self._parts = [
            (_IoVec * 2)(_IoVec(start, usual), _IoVec(more, self._excess)) for start, more in starts
        ]
        headers = (_MsgHdr(parts=parts, number_of_parts=2) for parts in self._parts)
        self._messages = (_MMsgHdr * NUMBER)(*map(_MMsgHdr, headers))

    def receive(self, channel: socket.socket) -> Sequence[bytes]:
        """The datagrams that are there, at most NUMBER, some of them joined; an empty one where the other
        side has closed.

        Raises BlockingIOError where there is none, and OSError as recv() does.
        """
        received = -1
        while received < 0:
            received = _recvmmsg()(channel.fileno(), self._messages, NUMBER, socket.MSG_DONTWAIT, None)
            error = ctypes.get_errno()
            if received < 0 and error != errno.EINTR:
                raise OSError(error, os.strerror(error))
        if any(message.header.flags & socket.MSG_TRUNC for message in self._messages[:received]):
            raise OSError(errno.EMSGSIZE, "a datagram is longer than any should be")
        return list(self._joined([message.size for message in self._messages[:received]]))

    def _joined(self, sizes: Sequence[int]) -> Iterator[bytes]:
        place = 0
        for is_usual, some in groupby(sizes, self._usual.__eq__):
            number = len(list(some))
            if is_usual:
                yield self._taken(place, number * self._usual)
            else:
                yield from (self._one(place + i, sizes[place + i]) for i in range(number))
            place += number

    def _taken(self, first: int, size: int) -> bytes:
        return bytes(memoryview(self._bytes)[first * self._usual :][:size])

    def _one(self, place: int, size: int) -> bytes:
        excess = max(size - self._usual, 0)
        more = memoryview(self._excesses)[place * self._excess :][:excess]
        return self._taken(place, size - excess) + bytes(more)


def _places(room: bytearray, each: int) -> Iterator[int | None]:
    """The addresses of so many equal parts."""
    if not room:
        return iter([None] * NUMBER)
    first = ctypes.addressof((ctypes.c_char * len(room)).from_buffer(room))
    return iter(range(first, first + len(room), each))
