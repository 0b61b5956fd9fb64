"""Byte streams from and to a client: plain, or through TLS.

Built on asyncio's socket functions and `ssl.SSLObject` instead of transports: nothing is read before it is
needed, a response is sent without a copy, and each TLS alert reaches the client. asyncio's TLS transport
keeps buffers of 256 KiB for each connection, and in Python 3.11 closes the socket before the alert is sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from .limits import ServerLimits

_T = TypeVar("_T")


class Stream:
    """Plain stream on a connected, non-blocking socket. One task at a time may read, and one may write.

    Methods raise OSError if the connection fails.
    """

    def __init__(self, sock: socket.socket, limits: ServerLimits) -> None:
        self._sock = sock
        self._limits = limits
        self._loop = asyncio.get_running_loop()

    async def read(self) -> bytes:
        """Return the next bytes; none at the end."""
        # sock_recv() only waits if there are no data: a client that sends faster than its request is parsed
        # would block all others, and timeouts.
        await asyncio.sleep(0)
        return await self._loop.sock_recv(self._sock, self._limits.read_chunk_bytes)

    async def write(self, data: bytes) -> None:
        await self._loop.sock_sendall(self._sock, data)

    async def end(self) -> None:
        """Notify the client that no data follow, if the protocol has a message for that."""

    async def wait_closed(self) -> None:
        """Discard received data until the client closes the connection."""
        while await Stream.read(self):
            pass


class TlsStream(Stream):
    """Stream through TLS. handshake() must be called first."""

    def __init__(self, sock: socket.socket, limits: ServerLimits, context: ssl.SSLContext) -> None:
        super().__init__(sock, limits)
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._flushing = asyncio.Lock()

    async def handshake(self) -> ssl.SSLObject:
        """Perform the handshake, and return the SSLObject with its results.

        Raises ssl.SSLError if it fails; the alert, if any, has been sent then.
        """
        try:
            await self._run(self._tls.do_handshake)
        except EOFError:
            raise ConnectionResetError("closed by the client during the handshake") from None
        return self._tls

    async def read(self) -> bytes:
        try:
            return await self._run(partial(self._tls.read, self._limits.read_chunk_bytes))
        except (EOFError, ssl.SSLZeroReturnError):
            return b""

    async def write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            written = self._tls.write(view[: self._limits.write_chunk_bytes])
            view = view[written:]
            await self._flush()

    async def end(self) -> None:
        # unwrap() queues the close_notify. The client's own is not awaited, as in Go.
        with contextlib.suppress(ssl.SSLError):
            self._tls.unwrap()
        await self._flush()

    async def _run(self, operation: Callable[[], _T]) -> _T:
        """Call the operation until it has received enough bytes, and return its result.

        Raises EOFError if the client closes the connection before.
        """
        while True:
            try:
                result = operation()
            except ssl.SSLWantReadError:
                await self._flush()
            except ssl.SSLError:
                with contextlib.suppress(OSError):
                    await self._flush()
                raise
            else:
                await self._flush()
                return result
            received = await super().read()
            if not received:
                raise EOFError
            self._incoming.write(received)

    async def _flush(self) -> None:
        # Locked, because reading may have data to send during a write, such as new keys.
        async with self._flushing:
            if data := self._outgoing.read():
                await super().write(data)
