"""Read-ahead for netlink dumps: a thread receives datagrams while the caller decodes earlier ones.

The kernel makes a dump while it is read (netlink_dump in net/netlink/af_netlink.c): until the dump ends, the
next datagram is available immediately, so the thread never waits for one. recv() releases the GIL, and the
caller releases it when it waits for the thread.
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
    from .recvmmsg import DatagramBuffers

# The kernel fills replies up to the largest buffer it has been offered, 32 KiB at most (netlink_recvmsg);
# twice that never truncates one.
RECEIVE_BYTES: Final = 65_536
_MAX_DATAGRAM: Final = 32_768

# Datagrams that the caller reads itself, one by one, before the thread is started. Most hosts have no more.
_SYNC_READS: Final = 8
# Datagrams that tell the typical size: the first is small, the second as long as nearly all others.
_PROBE_READS: Final = 2
# Datagrams for each read of the thread: half a megabyte, which the kernel takes 3 ms to make.
_BATCH: Final = 16
# The same with prefetch, 8 MiB: between two reads the thread would wait for the GIL, up to 5 ms
# (sys.getswitchinterval) or as long as the caller is inside one C function.
_BATCH_PREFETCH: Final = 256
# Reads that wait for the caller at most.
_QUEUE_DEPTH: Final = 2


class DumpReader:
    """Reads one dump from a netlink socket. A context manager: on exit, the thread has ended.

    prefetch: start the thread after the first datagram, whatever the caller does in the meantime.
    """

    def __init__(self, channel: socket.socket, *, prefetch: bool = False) -> None:
        self._channel = channel
        self._buffer = bytearray(RECEIVE_BYTES)
        self._view = memoryview(self._buffer)
        self._prefetch = prefetch
        self._sync_reads_left = 1 if prefetch else _SYNC_READS
        self._batch = _BATCH_PREFETCH if prefetch else _BATCH
        self._datagrams_read = 0
        self._typical_size = 0
        self._thread: Thread | None = None
        self._queue: SimpleQueue[Iterable[bytes] | Exception | None] = SimpleQueue()
        self._current: Iterator[bytes] = iter(())
        self._slots = Semaphore(_QUEUE_DEPTH)
        self._stopping = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping = True
        self._slots.release()
        self._join_thread()

    def recv(self) -> bytes:
        """Return the next datagram, or several joined; nothing if the kernel has closed the socket.

        Raises BlockingIOError if none arrives in time, and OSError as recv(2) does.
        """
        for data in self._current:
            return data
        if self._thread:
            received = self._queue.get()
            if isinstance(received, Exception):
                raise received
            if received is not None:
                self._slots.release()
                self._current = iter(received)
                return next(self._current)
            self._join_thread()
        datagram = self._read_one()
        self._sync_reads_left -= 1
        if not self._sync_reads_left:
            self._start_thread()
        return datagram

    def _read_one(self, flags: int = 0) -> bytes:
        datagram = bytes(self._view[: self._channel.recv_into(self._buffer, 0, flags)])
        self._datagrams_read += 1
        self._typical_size = max(self._typical_size, len(datagram))
        return datagram

    def _start_thread(self) -> None:
        self._thread = Thread(target=self._read_ahead, name="netlink", daemon=True)
        self._thread.start()

    def _join_thread(self) -> None:
        if self._thread:
            self._thread.join()
        self._thread = None
        self._sync_reads_left = 1

    def _read_ahead(self) -> None:
        """Read until no datagram is available; the caller itself waits for later ones."""
        try:
            for datagrams in self._batches():
                self._queue.put(datagrams)
            self._queue.put(None)
        except BlockingIOError:
            self._queue.put(None)
        except Exception as error:  # noqa: BLE001  # the caller waits, and raises it
            self._queue.put(error)

    def _batches(self) -> Iterator[Iterable[bytes]]:
        while self._datagrams_read < _PROBE_READS or self._typical_size < _MAX_DATAGRAM // 2:
            yield [self._read_one(socket.MSG_DONTWAIT)]
        receive = self._receive_function()
        while True:
            received = receive()
            self._slots.acquire()
            if self._stopping:
                return
            yield received

    def _receive_function(self) -> Callable[[], Iterable[bytes]]:
        """Return a function that receives many datagrams, or only one if ctypes cannot be used.

        ctypes needs memory that is both written and executed, which can be forbidden (systemd's
        MemoryDenyWriteExecute, with libffi before 3.4).
        """
        try:
            # Imported late: ctypes takes a megabyte, which only hosts with many sockets need.
            from .. import runtime
            from .recvmmsg import DatagramBuffers

            runtime.set_mmap_threshold()
            allocate = partial(DatagramBuffers, self._batch, self._typical_size, _MAX_DATAGRAM)
            buffers = allocate()
        except (ImportError, AttributeError, OSError, MemoryError):
            return lambda: [self._read_one(socket.MSG_DONTWAIT)]
        if self._prefetch:
            # The caller takes the datagrams later, from the buffers themselves: each read has its own.
            successive = chain([buffers], iter(allocate, None))
            return lambda: self._receive_into(successive)
        return lambda: list(buffers.receive(self._channel))

    def _receive_into(self, successive: Iterator[DatagramBuffers]) -> Iterable[bytes]:
        try:
            buffers = next(successive)
        except (OSError, MemoryError):
            return [self._read_one(socket.MSG_DONTWAIT)]
        return buffers.receive(self._channel)
