"""Clients that stall, as a program of their own: `python -m tests.abuse.idlers PORT NUMBER [AUTHORITY]`.

Prints, when all have been cut off, the seconds that each lasted, as JSON. With the file of an authority it
takes the port to speak TLS.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import resource
import ssl
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

HALF: Final = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n"
HALF_HELLO: Final = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
PATIENCE: Final = 40.0
"""Seconds after which an idler goes by itself: it was not cut off."""


class Idlers:
    """So many clients, each of which stalls in one of three ways."""

    def __init__(self, port: int, context: ssl.SSLContext | None) -> None:
        self._port = port
        self._context = context

    async def all(self, number: int) -> list[float]:
        """The seconds that each lasted, from the connect on."""
        kinds = (self._silent, self._half, self._trickle)
        return await asyncio.gather(*(self._lasted(kinds[each % 3]) for each in range(number)))

    async def _lasted(self, kind: Callable[[], Awaitable[None]]) -> float:
        began = time.monotonic()
        with contextlib.suppress(OSError, EOFError):
            await asyncio.wait_for(kind(), PATIENCE)
        return time.monotonic() - began

    async def _silent(self) -> None:
        """Over TLS this is the connection without a hello."""
        reader, writer = await self._open(tls=False)
        await _end(reader, writer)

    async def _half(self) -> None:
        reader, writer = await self._open(tls=True)
        writer.write(HALF)
        await _end(reader, writer)

    async def _trickle(self) -> None:
        """A byte a second; over TLS, of the hello."""
        reader, writer = await self._open(tls=False)
        writer.write(HALF_HELLO if self._context else HALF + b"X-Slow: ")
        ended = asyncio.ensure_future(_end(reader, writer))
        while not ended.done():
            writer.write(b"x")
            await asyncio.wait([ended], timeout=1)

    async def _open(self, *, tls: bool) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        options: dict[str, Any] = {}
        if tls and self._context:
            options = {"ssl": self._context, "server_hostname": "localhost"}
        return await asyncio.open_connection("127.0.0.1", self._port, **options)


async def _end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while await reader.read(4096):
            pass
    writer.transport.abort()


def main(port: str, number: str, authority: str = "") -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    context = ssl.create_default_context(cafile=authority) if authority else None
    print(json.dumps(asyncio.run(Idlers(int(port), context).all(int(number)))))


if __name__ == "__main__":
    main(*sys.argv[1:])
