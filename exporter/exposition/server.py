"""Serves an ASGI application on listening sockets: uvicorn, with an end to its patience.

HTTP/1.1 with keep-alive: a connection for each scrape would leave a TIME_WAIT each on the exporter's port.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from functools import partial
from types import FrameType
from typing import Any, Final

import uvicorn

from ..log import LogOnChange, fields
from . import web_systemd
from .reply import AsgiApplication
from .web_arrival import TlsArrival
from .web_connection import Connection
from .web_crowd import Crowd, Limits
from .web_tls import ServerTls

logger = logging.getLogger(__name__)

_BACKLOG: Final = 128

_NO_RESOURCES: Final = "socket.accept() out of system resource"
"""What asyncio says when there is no descriptor for a new connection."""

DEFAULT_LIMITS: Final = Limits()


def parse_address(address: str) -> tuple[str, int]:
    """Splits `host:port`, `[IPv6]:port` or `:port` (all interfaces: the host is then empty).

    Raises ValueError for anything else.
    """
    host, colon, digits = address.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not colon or (":" in host and not bracketed):
        raise ValueError(f"listen address {address!r}: expected host:port, [IPv6 address]:port or :port")
    if not (digits.isascii() and digits.isdigit() and int(digits) <= 65535):
        raise ValueError(f"listen address {address!r}: the port must be a number from 0 to 65535")
    return (host[1:-1] if bracketed else host), int(digits)


def listen(address: str) -> socket.socket:
    """Gives a socket that listens on the address, as parse_address takes it.

    `:port` means every interface, over IPv6 and IPv4 where the host has both. Raises ValueError for an
    address that is none, OSError where it cannot be had.
    """
    host, port = parse_address(address)
    try:
        return _listener(*_endpoint(host, port))
    except OSError as error:
        raise OSError(error.errno, f"cannot listen on {address}: {error.strerror or error}") from error


def address_of(listener: socket.socket) -> str:
    """Gives the address a socket is bound to, as parse_address takes it; of a Unix socket, its path."""
    if listener.family not in (socket.AF_INET, socket.AF_INET6):
        return str(listener.getsockname())
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def serve(
    application: AsgiApplication,
    listeners: Sequence[socket.socket],
    limits: Limits = DEFAULT_LIMITS,
    *,
    tls: Callable[[], ServerTls | None] = lambda: None,
    reload: Callable[[], object] = lambda: None,
) -> None:
    """Serves until SIGINT or SIGTERM (on Windows also SIGBREAK), finishes what is in flight, and returns.

    tls: asked at every new connection. reload: called at every SIGHUP, in the thread that serves. The signals
    are heard only when called in the main thread. Tells systemd when it serves and when it stops. Closes the
    listeners.
    """
    server = _Server(_config(application, limits), limits, tls, reload)
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, server.handle_hangup)
    for listener in listeners:
        logger.info("Listening on", extra=fields(address=address_of(listener), tls=tls() is not None))
    server.run(list(listeners))
    logger.info("Stopped")


def _endpoint(host: str, port: int) -> tuple[int, Any]:
    found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    # Of a name with both, such as localhost, the IPv4 address: as Go's listeners, and so every peer.
    wanted = socket.AF_INET6 if not host and socket.has_dualstack_ipv6() else socket.AF_INET
    family, _, _, _, endpoint = min(found, key=lambda each: each[0] != wanted)
    return family, endpoint


def _listener(family: int, endpoint: Any) -> socket.socket:
    # With the protocol named asyncio sets TCP_NODELAY; else an answer's end waits 40 ms for a delayed ACK.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if sys.platform == "win32":
            # There SO_REUSEADDR would let any other program take the port from us.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        else:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind(endpoint)
        listener.listen(_BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def _config(application: AsgiApplication, limits: Limits) -> uvicorn.Config:
    return uvicorn.Config(
        application,
        http=Connection,
        ws="none",
        lifespan="off",
        loop="asyncio",
        interface="asgi3",
        # Said, because uvicorn would ask the environment.
        workers=1,
        proxy_headers=False,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=limits.idle_seconds,
        timeout_graceful_shutdown=limits.shutdown_seconds,
    )


class _Server(uvicorn.Server):
    """uvicorn's server, for which a signal is a wish and not a failure, and which sleeps while idle."""

    def __init__(
        self,
        config: uvicorn.Config,
        limits: Limits,
        tls: Callable[[], ServerTls | None],
        reload: Callable[[], object],
    ) -> None:
        super().__init__(config)
        self._limits = limits
        self._crowd = Crowd(limits.connections)
        self._tls = tls
        self._reload = reload
        self._hung_up = False
        self._wake: Callable[[], object] | None = None
        self._once = LogOnChange(logger)

    def handle_exit(self, sig: int, _frame: FrameType | None) -> None:
        """Stops at a signal, without uvicorn's raising it again afterwards: the exit status stays 0."""
        self.force_exit = self.should_exit and sig == signal.SIGINT
        self.should_exit = True
        if self._wake:
            self._wake()

    def handle_hangup(self, _sig: int, _frame: FrameType | None) -> None:
        """Reads the configuration again, soon: not in the middle of whatever the signal interrupts."""
        self._hung_up = True
        if self._wake:
            self._wake()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _loop, context: self._tell(context))
        self.servers = [
            await loop.create_server(self._accept, sock=each, backlog=_BACKLOG) for each in sockets or ()
        ]
        self.started = True
        web_systemd.ready()

    async def main_loop(self) -> None:
        """Wakes once a second, for the header Date; uvicorn's ten times cost 0.2 % of a processor."""
        wish = asyncio.Event()
        self._wake = partial(asyncio.get_running_loop().call_soon_threadsafe, wish.set)
        while not await self.on_tick(0):
            if self._hung_up:
                self._hung_up = False
                self._reload()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(wish.wait(), 1)
            wish.clear()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        web_systemd.stopping()
        self._crowd.dismiss()
        await super().shutdown(sockets)

    def _accept(self) -> asyncio.Protocol:
        self._once.recovered(_NO_RESOURCES, "Connections can be accepted again")
        connection = Connection(
            self.config, self._limits, self._crowd, server_state=self.server_state, app_state={}
        )
        tls = self._tls()
        return TlsArrival(connection, tls) if tls else connection

    def _tell(self, context: dict[str, Any]) -> None:
        """Logs what asyncio has to say, once."""
        message = context["message"]
        self._once.failing(message, message, error=context.get("exception"))
