"""Bytes from and to a client: plain, or through TLS.

Built on asyncio's socket functions and `ssl.SSLObject` rather than on transports: nothing is read that was
not asked for, a response is sent without being copied, and each TLS alert reaches the client. asyncio's own
TLS keeps 256 KiB of buffer for each connection, and in Python 3.11 closes before the alert is sent.
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
    """A connected, non-blocking socket. One task at a time may read, and one may write.

    Methods raise OSError when the connection fails.
    """

    def __init__(self, sock: socket.socket, limits: ServerLimits) -> None:
        self._sock = sock
        self._limits = limits
        self._loop = asyncio.get_running_loop()

    async def read(self) -> bytes:
        """Return the next bytes; none at the end."""
        return await self._loop.sock_recv(self._sock, self._limits.read_size)

    async def write(self, data: bytes) -> None:
        await self._loop.sock_sendall(self._sock, data)

    async def end(self) -> None:
        """Tell the client that nothing follows, where the protocol has a way to do so."""

    async def wait_closed(self) -> None:
        """Discard what the client sends, until it closes."""
        while await Stream.read(self):
            pass


class TlsStream(Stream):
    """A stream through TLS. Call handshake() first."""

    def __init__(self, sock: socket.socket, limits: ServerLimits, context: ssl.SSLContext) -> None:
        super().__init__(sock, limits)
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._flushing = asyncio.Lock()

    async def handshake(self) -> ssl.SSLObject:
        """Agree on TLS with the client, and return what was agreed on.

        Raises ssl.SSLError when that fails: the alert, if there is one, has been sent then.
        """
        try:
            await self._run(self._tls.do_handshake)
        except EOFError:
            raise ConnectionResetError("closed by the client during the handshake") from None
        return self._tls

    async def read(self) -> bytes:
        try:
            return await self._run(partial(self._tls.read, self._limits.read_size))
        except (EOFError, ssl.SSLZeroReturnError):
            return b""

    async def write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            written = self._tls.write(view[: self._limits.write_size])
            view = view[written:]
            await self._flush()

    async def end(self) -> None:
        # Queues the close_notify. Its counterpart is not waited for, as in Go.
        with contextlib.suppress(ssl.SSLError):
            self._tls.unwrap()
        await self._flush()

    async def _run(self, operation: Callable[[], _T]) -> _T:
        """Return what the operation returns, once it has been given enough bytes. Raises EOFError."""
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
        # The lock, because reading can have something to send too, such as new keys, during a write.
        async with self._flushing:
            if data := self._outgoing.read():
                await super().write(data)
