"""Serves an ASGI application on listening sockets: uvicorn, with an end to its patience.

HTTP/1.1 with keep-alive: a connection for each scrape would leave a TIME_WAIT each on the exporter's port.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import struct
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from types import FrameType
from typing import Any, Final

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from ..logs import Once, fields
from .application import AsgiApplication

logger = logging.getLogger(__name__)

_BACKLOG: Final = 128

_NO_RESOURCES: Final = "socket.accept() out of system resource"
"""What asyncio says when there is no descriptor for a new connection."""

# SO_LINGER: on, 0 seconds. Winsock's struct has short members.
_NO_LINGER: Final = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)


@dataclass(frozen=True, slots=True)
class Limits:
    """What a client may take of us. Times in seconds."""

    connections: int = 512
    """Open at once; those beyond are reset at once."""
    request_seconds: float = 10
    """From the connect, or from the first byte of a later request, to the last byte of the request."""
    response_seconds: float = 30
    """For the client to take what has been written to it."""
    idle_seconds: int = 310
    """Between two requests. Longer than the 5 minutes after which Prometheus closes an idle connection:
    the side that closes first is the side that keeps the TIME_WAIT."""
    shutdown_seconds: int = 15
    """For the answers in flight when the server is told to stop."""


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
    """Gives the address a socket is bound to, as parse_address takes it."""
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def serve(
    application: AsgiApplication,
    listeners: Sequence[socket.socket],
    limits: Limits = DEFAULT_LIMITS,
    reload: Callable[[], None] | None = None,
) -> None:
    """Serves until SIGINT or SIGTERM (on Windows also SIGBREAK), finishes what is in flight, and returns.

    reload: called at every SIGHUP. The signals are heard only when called in the main thread. Closes the
    listeners.
    """
    if reload and hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, lambda _number, _frame: reload())
    for listener in listeners:
        logger.info("Listening on", extra=fields(address=address_of(listener)))
    _Server(_Config(application, limits)).run(list(listeners))
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


class _Config(uvicorn.Config):
    def __init__(self, application: AsgiApplication, limits: Limits) -> None:
        super().__init__(
            application,
            http=_Connection,
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
            backlog=_BACKLOG,
            timeout_keep_alive=limits.idle_seconds,
            timeout_graceful_shutdown=limits.shutdown_seconds,
        )
        self.limits = limits
        self.once = Once(logger)


class _Server(uvicorn.Server):
    """uvicorn's server, for which a signal is a wish and not a failure, and which sleeps while idle."""

    config: _Config
    _wake: Callable[[], object] | None = None

    def handle_exit(self, sig: int, _frame: FrameType | None) -> None:
        """Stops at a signal, without uvicorn's raising it again afterwards: the exit status stays 0."""
        self.force_exit = self.should_exit and sig == signal.SIGINT
        self.should_exit = True
        if self._wake:
            self._wake()

    async def main_loop(self) -> None:
        """Wakes once a second, for the header Date; uvicorn's ten times cost 0.2 % of a processor."""
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: self._tell(context))
        stop = asyncio.Event()
        self._wake = partial(asyncio.get_running_loop().call_soon_threadsafe, stop.set)
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), 1)

    def _tell(self, context: dict[str, Any]) -> None:
        """Logs what asyncio has to say, once: that descriptors lack it says a hundred times a second."""
        message = context["message"]
        self.config.once.problem(message, message, error=context.get("exception"))


class _Deadline:
    """A timer that can be started again and again; a start while it runs changes nothing."""

    def __init__(self, seconds: float, action: Callable[[], None]) -> None:
        self._seconds = seconds
        self._action = action
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._seconds, self._action)

    def stop(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None


class _Connection(H11Protocol):
    """uvicorn's connection, one of a bounded number, with deadlines for what the client has to do."""

    config: _Config

    def __init__(self, config: _Config, **others: Any) -> None:
        super().__init__(config, **others)
        self._request_deadline = _Deadline(config.limits.request_seconds, self._reset)
        self._response_deadline = _Deadline(config.limits.response_seconds, self._reset)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.config.once.solved(_NO_RESOURCES, "Connections can be accepted again")
        # Whatever the kernel does not take at once calls pause_writing.
        transport.set_write_buffer_limits(high=0)
        limit = self.config.limits.connections
        if len(self.connections) > limit:
            self.config.once.problem("connections", "Too many connections", limit=limit)
            self._reset()
        else:
            self._await_request()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._await_request()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._await_request()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._response_deadline.start()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._response_deadline.stop()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._request_deadline.stop()
        self._response_deadline.stop()
        # Well below the limit, lest a few clients coming and going fill the log.
        if len(self.connections) <= self.config.limits.connections // 2:
            self.config.once.solved("connections", "Connections are accepted again")

    def _await_request(self) -> None:
        """Starts the deadline of a request that has begun, ends that of one that is complete."""
        first = self.cycle is None
        begun = self.conn.their_state is h11.IDLE and (first or self.conn.trailing_data[0])
        if begun or self.conn.their_state is h11.SEND_BODY:
            self._request_deadline.start()
        else:
            self._request_deadline.stop()

    def _reset(self) -> None:
        """Ends the connection by RST: a client that misbehaves leaves no TIME_WAIT on our port."""
        connection = self.transport.get_extra_info("socket")
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        self.transport.abort()
