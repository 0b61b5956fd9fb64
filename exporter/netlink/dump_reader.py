"""Read-ahead for netlink dumps: a thread receives datagrams while the caller decodes earlier ones.

The kernel writes a dump while it is read (netlink_dump in net/netlink/af_netlink.c): until the dump ends, the
next datagram is available immediately, and the thread never waits for one. recv() releases the GIL, as does
the caller while it waits for the thread.
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

RECEIVE_BYTES: Final = 65_536
"""Size of the receive buffer. The kernel fills datagrams up to the largest buffer so far, at most 32 KiB
(netlink_recvmsg): twice that size never truncates one."""
_MAX_DATAGRAM_BYTES: Final = 32_768

# Number of datagrams that the caller itself reads before the thread starts. Most hosts have no more.
_SYNC_READS: Final = 8
# Number of datagrams that give the typical size: the first is small, the second as long as nearly all others.
_PROBE_READS: Final = 2
# Number of datagrams in one read of the thread: 512 KiB, which the kernel takes 3 ms to write.
_BATCH: Final = 16
# The same with prefetch: 8 MiB. Between two reads the thread waits for the GIL, up to 5 ms
# (sys.getswitchinterval) or as long as the caller runs one C function.
_BATCH_PREFETCH: Final = 256
# Maximum number of reads that wait for the caller.
_QUEUE_DEPTH: Final = 2


class DumpReader:
    """Reads one dump from a netlink socket. A context manager, which ends the thread on exit.

    prefetch: start the thread after the first datagram, and let it read the whole dump ahead.
    """

    def __init__(self, sock: socket.socket, *, prefetch: bool = False) -> None:
        self._sock = sock
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
        """Return the next datagram, or several joined; empty if the kernel has closed the socket.

        Raises BlockingIOError on a timeout, and OSError as recv(2) does.
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
        datagram = bytes(self._view[: self._sock.recv_into(self._buffer, 0, flags)])
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
        """Read until no datagram is available. The caller itself waits for later ones."""
        try:
            for datagrams in self._batches():
                self._queue.put(datagrams)
            self._queue.put(None)
        except BlockingIOError:
            self._queue.put(None)
        except Exception as error:  # noqa: BLE001  # recv() raises it in the caller
            self._queue.put(error)

    def _batches(self) -> Iterator[Iterable[bytes]]:
        while self._datagrams_read < _PROBE_READS or self._typical_size < _MAX_DATAGRAM_BYTES // 2:
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
            # Imported here because ctypes takes 1 MiB: only hosts with many sockets need it.
            from .. import runtime
            from .recvmmsg import DatagramBuffers

            runtime.set_mmap_threshold()
            allocate = partial(DatagramBuffers, self._batch, self._typical_size, _MAX_DATAGRAM_BYTES)
            buffers = allocate()
        except (ImportError, AttributeError, OSError, MemoryError):
            return lambda: [self._read_one(socket.MSG_DONTWAIT)]
        if self._prefetch:
            # The caller copies the datagrams from the buffers later: each read needs buffers of its own.
            successive = chain([buffers], iter(allocate, None))
            return lambda: self._receive_into(successive)
        return lambda: list(buffers.receive(self._sock))

    def _receive_into(self, successive: Iterator[DatagramBuffers]) -> Iterable[bytes]:
        try:
            buffers = next(successive)
        except (OSError, MemoryError):
            return [self._read_one(socket.MSG_DONTWAIT)]
        return buffers.receive(self._sock)
