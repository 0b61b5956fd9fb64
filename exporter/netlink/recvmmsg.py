"""Receives many datagrams with one system call: recvmmsg(2), which Python's socket module does not have.

Python lets other threads run while the call lasts, and needs no step of its own for each datagram.
Importable on Linux only.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import socket
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import chain
from typing import Any, Final

# 128 KiB: together with what is left of the last piece, less than runtime.MMAP_THRESHOLD.
_IN_ONE_PIECE: Final = 4


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
    """Room for so many datagrams, filled again and again.

    usual: the size of most datagrams. Those of this size lie one after the other in memory. longest: none
    is longer.
    """

    def __init__(self, number: int, usual: int, longest: int) -> None:
        self._number = number
        self._usual = usual
        self._excess = max(longest - usual, 0)
        # The system gives memory to a mapping where it is written to: room is free that is not used.
        self._bytes = mmap.mmap(-1, number * usual)
        self._excesses = mmap.mmap(-1, max(number * self._excess, 1))
        parts = zip(
            _places(self._bytes, usual, number), _places(self._excesses, self._excess, number), strict=True
        )
        self._parts = [
            (_IoVec * 2)(_IoVec(start, usual), _IoVec(more, self._excess)) for start, more in parts
        ]
        headers = (_MsgHdr(parts=parts, number_of_parts=2) for parts in self._parts)
        self._messages = (_MMsgHdr * number)(*map(_MMsgHdr, headers))

    def receive(self, channel: socket.socket) -> Iterator[bytes]:
        """The datagrams that are there, at most so many as there is room for, joined; the last one for itself
        where it is not of the usual size. An empty one where the other side has closed. To be taken before
        others are received: each is copied then, so that the processor's cache has it.

        Raises BlockingIOError at once where there is none, and OSError as recv() does.
        """
        received = -1
        while received < 0:
            received = _recvmmsg()(channel.fileno(), self._messages, self._number, socket.MSG_DONTWAIT, None)
            error = ctypes.get_errno()
            if received < 0 and error != errno.EINTR:
                raise OSError(error, os.strerror(error))
        if any(message.header.flags & socket.MSG_TRUNC for message in self._messages[:received]):
            raise OSError(errno.EMSGSIZE, "a datagram is longer than any should be")
        sizes = [message.size for message in self._messages[:received]]
        last = [] if sizes[-1] == self._usual else [self._one(received - 1, sizes.pop())]
        return chain(self._joined(sizes), last)

    def _joined(self, sizes: Sequence[int]) -> Iterator[bytes]:
        """In pieces that the processor's cache can hold."""
        for first in range(0, len(sizes), _IN_ONE_PIECE):
            some = sizes[first : first + _IN_ONE_PIECE]
            if some.count(self._usual) == len(some):
                yield self._bytes[first * self._usual : (first + len(some)) * self._usual]
            else:
                yield b"".join(self._one(first + i, size) for i, size in enumerate(some))

    def _one(self, place: int, size: int) -> bytes:
        excess = max(size - self._usual, 0)
        start, more = place * self._usual, place * self._excess
        return self._bytes[start : start + size - excess] + self._excesses[more : more + excess]


def _places(room: mmap.mmap, each: int, number: int) -> Iterator[int]:
    """The addresses of so many equal parts."""
    first = ctypes.addressof(ctypes.c_char.from_buffer(room))
    return (first + place * each for place in range(number))
