"""Decodes the answers of `sock_diag` (struct inet_diag_msg): pure, no I/O, whole batches at once.

A dump mixes messages of a few sizes: short ones (TIME_WAIT, SYN_RECV), full sockets, full sockets
with another attribute. They are sorted by size with one regular expression, which runs in C, and
then read as columns with strided slices (rows.py): no Python code runs for a socket seen before.
"""

from __future__ import annotations

import re
import struct
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Final

from ..model.sockets import Listener, SocketBatch
from .batches import batches_of
from .messages import SIZE, KernelRows
from .transport import HEADER, NLMSG_DONE, NLMSG_ERROR, SOCK_DIAG_BY_FAMILY, TCPDIAG_GETSOCK, NetlinkError

# struct inet_diag_msg stands behind the 16 bytes of struct nlmsghdr.
_HEADER_SIZE: Final = HEADER.size
_MINIMUM: Final = _HEADER_SIZE + SIZE
_SIZE_AND_KIND: Final = 6
_KINDS: Final = (SOCK_DIAG_BY_FAMILY, TCPDIAG_GETSOCK)
# The two bytes of either type, each as a class: faster than two alternatives. The upper one is always 0.
_KIND: Final = b"[%b][%b]" % tuple(
    map(bytes, zip(*(struct.pack("=H", kind) for kind in _KINDS), strict=True))
)
_MAX_ERRNO: Final = 4095
# So many bytes of messages are enough for a run of their own.
_WORTHWHILE: Final = 1 << 16


# A kernel has a handful of sizes; in a pattern of many, each costs.
_MOST_SIZES: Final = 8


class Runs:
    """Sorts the messages of a batch by their size, remembering the sizes it has met: until a size is known,
    it is looked for message by message. Worth keeping from dump to dump."""

    def __init__(self) -> None:
        self._sizes: list[int] = []
        self._pattern = re.compile(b"(?!)")

    def split(self, data: bytes) -> tuple[dict[int, bytes], bool]:
        """Message size -> the socket messages of that size, joined; and whether the dump is done.

        Raises NetlinkError for an error message, a truncated or a garbled batch.
        """
        size = _size_of_all(data)
        if size:
            return {size: data}, False
        runs = self._split_known(data)
        if runs is not None:
            return runs, False
        return self._split_any(data)

    def _split_known(self, data: bytes) -> dict[int, bytes] | None:
        """All messages, when every one is a socket's and has a size met before; else None."""
        found = self._pattern.findall(data)
        columns = zip(*found, strict=True) if len(self._sizes) > 1 else (found,)
        runs = {size: b"".join(pieces) for size, pieces in zip(self._sizes, columns, strict=False)}
        if sum(map(len, runs.values())) != len(data):
            return None
        return {size: run for size, run in runs.items() if run}

    def _split_any(self, data: bytes) -> tuple[dict[int, bytes], bool]:
        pieces: dict[int, list[bytes]] = {}
        for size, kind, message in _messages(data):
            if kind in (NLMSG_DONE, NLMSG_ERROR):
                _raise_error_in(message)
                return self._joined(pieces), True
            if kind not in _KINDS or size < _MINIMUM:
                raise NetlinkError(f"sock_diag: message of type {kind} with {size} bytes makes no sense")
            pieces.setdefault(size, []).append(message)
        return self._joined(pieces), False

    def _joined(self, pieces: dict[int, list[bytes]]) -> dict[int, bytes]:
        new = [size for size in pieces if size not in self._sizes]
        if new:
            self._sizes = [*self._sizes, *new][-_MOST_SIZES:]
            self._pattern = _pattern_for(self._sizes)
        return {size: b"".join(messages) for size, messages in pieces.items()}


def _size_of_all(data: bytes) -> int:
    """The size of each message where all are sockets' of one size, as most batches are; else 0.

    Reads the headers as columns of bytes: a byte at a time costs a tenth of what a word does.
    """
    if len(data) < _MINIMUM:
        return 0
    size, kind, _, _, _ = HEADER.unpack_from(data)
    if kind not in _KINDS or size < _MINIMUM or size % 4 or len(data) % size:
        return 0
    number = len(data) // size
    same = all(data[place::size] == data[place : place + 1] * number for place in range(_SIZE_AND_KIND))
    return size if same else 0


def _pattern_for(sizes: Iterable[int]) -> re.Pattern[bytes]:
    """One group a size: a run of messages that start with that length and a socket's type. Possessive, as
    there is nothing to go back to: that takes a third less."""
    groups = (b"((?:%b%b.{%d}+)++)" % (re.escape(struct.pack("=I", size)), _KIND, size - 6) for size in sizes)
    return re.compile(b"|".join(groups), re.DOTALL)


def _messages(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Size, type and bytes of each message; raises NetlinkError where the lengths do not fit."""
    position = 0
    while position < len(data):
        if len(data) - position < _HEADER_SIZE:
            raise NetlinkError(f"sock_diag: truncated: {len(data) - position} bytes left over")
        size, kind, _, _, _ = HEADER.unpack_from(data, position)
        if size < _HEADER_SIZE or size % 4 or position + size > len(data):
            raise NetlinkError(
                f"sock_diag: truncated: a message of {size} bytes at {position} of {len(data)}"
            )
        yield size, kind, data[position : position + size]
        position += size


def _raise_error_in(message: bytes) -> None:
    """The kernel ends a dump that failed half way with NLMSG_DONE and a negative number."""
    if len(message) < _HEADER_SIZE + 4:
        raise NetlinkError("sock_diag: truncated end or error message")
    (code,) = struct.unpack_from("=i", message, _HEADER_SIZE)
    if not -_MAX_ERRNO <= code <= 0:
        raise NetlinkError(f"sock_diag: error number {-code} makes no sense")
    if code:
        raise NetlinkError.of_kernel(-code, "reading sockets")


def batches(messages: Iterable[bytes], runs: Runs | None = None) -> Iterator[SocketBatch]:
    """The sockets of a whole dump, from its raw batches up to NLMSG_DONE. runs: knows the sizes.

    Raises NetlinkError as Runs.split does, and when the messages end without NLMSG_DONE.
    """
    for size, run in _runs(messages, runs or Runs()):
        yield from batches_of(KernelRows(run, size, _HEADER_SIZE))


def listeners(messages: Iterable[bytes], runs: Runs | None = None) -> list[Listener]:
    """The listeners of a whole dump. In LISTEN, the queue figures are the accept queue's
    length and limit (tcp_diag_get_info). Otherwise as batches()."""
    rows = (KernelRows(run, size, _HEADER_SIZE) for size, run in _runs(messages, runs or Runs()))
    return [listener for some in rows for listener in _listeners(some)]


def _runs(messages: Iterable[bytes], runs: Runs) -> Iterator[tuple[int, bytes]]:
    """Message size -> messages of that size, joined as long as there are few: each run has its price."""
    waiting: defaultdict[int, list[bytes]] = defaultdict(list)
    for data in messages:
        found, done = runs.split(data)
        for size, run in found.items():
            waiting[size].append(run)
            if done or sum(map(len, waiting[size])) >= _WORTHWHILE:
                yield size, b"".join(waiting.pop(size))
        if done:
            yield from ((size, b"".join(some)) for size, some in waiting.items())
            return
    raise NetlinkError("sock_diag: the answer ended without NLMSG_DONE")


def _listeners(rows: KernelRows) -> Iterator[Listener]:
    for one, length, limit in zip(rows, *rows.queues(), strict=True):
        yield Listener(one.local_address, one.local_port, one.owner_key, length, limit)
