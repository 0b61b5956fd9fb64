"""Clients with whom TLS has to be agreed on before there is a connection to speak HTTP on."""

from __future__ import annotations

import asyncio
from asyncio import sslproto
from typing import Final

from .web_connection import Connection
from .web_tls import ServerTls

# asyncio's 256 KiB for each connection would be 128 MiB for as many as may come. TLS has records of 16 KiB.
sslproto.SSLProtocol.max_size = 32_768

_TLS_FAREWELL_SECONDS: Final = 5.0
"""For a client to confirm the end of TLS."""


class TlsArrival(asyncio.Protocol):
    """A client with whom TLS has to be agreed on before it is a Connection."""

    def __init__(self, connection: Connection, tls: ServerTls) -> None:
        self._connection = connection
        self._tls = tls
        self._early: list[bytes] = []
        self._handshake: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._connection.arrive(transport)
        # As long as nothing is agreed on, it may be anybody.
        self._connection.end_by_reset(abrupt=True)
        if not transport.is_closing():
            self._handshake = asyncio.get_running_loop().create_task(self._shake_hands(transport))

    def data_received(self, data: bytes) -> None:
        """Keeps what came together with the end of the handshake."""
        self._early.append(data)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # asyncio's
        self._connection.left()
        if self._handshake:
            self._handshake.cancel()

    async def _shake_hands(self, below: asyncio.Transport) -> None:
        loop = asyncio.get_running_loop()
        try:
            transport = await loop.start_tls(
                below,
                self,
                self._tls.context(),
                server_side=True,
                # The deadline of the first request is the shorter one.
                ssl_handshake_timeout=60.0,
                ssl_shutdown_timeout=_TLS_FAREWELL_SECONDS,
            )
        except (OSError, EOFError) as error:
            self._tls.tell(error, _address(below))
            self._connection.left()
            return
        if transport is None or transport.is_closing():
            self._connection.left()
            return
        if not self._tls.admits(transport.get_extra_info("ssl_object")):
            self._tls.tell("no name of its certificate is allowed", _address(below))
            self._connection.reset()
            return
        self._connection.end_by_reset(abrupt=False)
        transport.set_protocol(self._connection)
        self._connection.connection_made(transport)
        if self._early:
            self._connection.data_received(b"".join(self._early))


def _address(below: asyncio.Transport) -> str:
    """Of the client."""
    host, port = (below.get_extra_info("peername") or ("unknown", 0))[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
