"""Reads the datagrams of a netlink dump, in a thread of its own while the caller is busy with those before.

A dump is made while it is read (netlink_dump in net/netlink/af_netlink.c): as long as it goes on, the next
datagram is there at once, so that the thread never waits for one. Reading lets other threads run, and the
caller lets the thread run when it has nothing to do.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import chain
from queue import SimpleQueue
from threading import Semaphore, Thread
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from .recvmmsg import Datagrams

# The kernel fills replies up to the largest buffer it has been offered, 32 KiB at most
# (netlink_recvmsg); twice that never truncates one.
RECEIVE_BYTES: Final = 65_536
_LONGEST: Final = 32_768

# Most hosts have no more datagrams than so many, which are read one by one, by the caller himself.
_AT_FIRST: Final = 8
# The first datagram is small, the second as long as nearly all are.
_TELLING: Final = 2
# The thread reads so many datagrams at once: half a megabyte, which the kernel takes 3 ms to make, while the
# caller works on those before; or, while he does something else, 8 MiB, as it would have to wait for him
# between two reads: up to 5 ms (sys.getswitchinterval), or as long as he is in one call of a C function.
_IN_TURN: Final = 16
_ALL_AT_ONCE: Final = 256
# It is not further ahead than so many reads.
_MOST_AHEAD: Final = 2


class Reader:
    """Reads one dump; a context, at whose end nothing reads any more.

    at_once: the thread begins behind the first datagram, whatever the caller does in the meantime.
    """

    def __init__(self, channel: socket.socket, *, at_once: bool = False) -> None:
        self._channel = channel
        self._buffer = bytearray(RECEIVE_BYTES)
        self._view = memoryview(self._buffer)
        self._at_once = at_once
        self._to_read_here = 1 if at_once else _AT_FIRST
        self._number = _ALL_AT_ONCE if at_once else _IN_TURN
        self._read_so_far = 0
        self._usual = 0
        self._thread: Thread | None = None
        self._ahead: SimpleQueue[Iterable[bytes] | Exception | None] = SimpleQueue()
        self._given: Iterator[bytes] = iter(())
        self._room = Semaphore(_MOST_AHEAD)
        self._stopping = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping = True
        self._room.release()
        self._end_thread()

    def next(self) -> bytes:
        """The next datagram, or some joined; an empty one when the other side has closed.

        Raises BlockingIOError when none comes in time, and OSError as recv() does.
        """
        for datagrams in self._given:
            return datagrams
        if self._thread:
            received = self._ahead.get()
            if isinstance(received, Exception):
                raise received
            if received is not None:
                self._room.release()
                self._given = iter(received)
                return next(self._given)
            self._end_thread()
        datagram = self._read()
        self._to_read_here -= 1
        if not self._to_read_here:
            self._start_thread()
        return datagram

    def _read(self, flags: int = 0) -> bytes:
        datagram = bytes(self._view[: self._channel.recv_into(self._buffer, 0, flags)])
        self._read_so_far += 1
        self._usual = max(self._usual, len(datagram))
        return datagram

    def _start_thread(self) -> None:
        self._thread = Thread(target=self._read_ahead, name="netlink", daemon=True)
        self._thread.start()

    def _end_thread(self) -> None:
        if self._thread:
            self._thread.join()
        self._thread = None
        self._to_read_here = 1

    def _read_ahead(self) -> None:
        """Reads until nothing more is there: what comes late, the caller waits for himself."""
        try:
            for datagrams in self._received():
                self._ahead.put(datagrams)
            self._ahead.put(None)
        except BlockingIOError:
            self._ahead.put(None)
        except Exception as failure:  # noqa: BLE001  # whatever it is, the caller waits for a word
            self._ahead.put(failure)

    def _received(self) -> Iterator[Iterable[bytes]]:
        while self._read_so_far < _TELLING or self._usual < _LONGEST // 2:
            yield [self._read(socket.MSG_DONTWAIT)]
        receive = self._receives_many()
        while True:
            received = receive()
            self._room.acquire()
            if self._stopping:
                return
            yield received

    def _receives_many(self) -> Callable[[], Iterable[bytes]]:
        """One by one where no more can be had: ctypes wants memory whose content is run, which may be
        forbidden (systemd's MemoryDenyWriteExecute, where libffi is older than 3.4)."""
        try:
            # Only who has many sockets pays for these: ctypes takes a megabyte.
            from .. import runtime
            from .recvmmsg import Datagrams

            runtime.set_mmap_threshold()
            make = partial(Datagrams, self._number, self._usual, _LONGEST)
            room = make()
        except (ImportError, AttributeError, OSError, MemoryError):
            return lambda: [self._read(socket.MSG_DONTWAIT)]
        if self._at_once:
            # The caller is late: what there is waits for him in its own room, once and not twice.
            rooms = chain([room], iter(make, None))
            return lambda: self._receive_in(rooms)
        return lambda: list(room.receive(self._channel))

    def _receive_in(self, rooms: Iterator[Datagrams]) -> Iterable[bytes]:
        try:
            room = next(rooms)
        except (OSError, MemoryError):
            return [self._read(socket.MSG_DONTWAIT)]
        return room.receive(self._channel)
