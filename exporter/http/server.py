"""HTTP/1.1 server on listening sockets.

Connections are kept alive: otherwise each scrape would leave a TIME_WAIT on the exporter's port.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from ..log import LogOnChange, fields
from . import systemd
from .connection import Connection, format_socket_address
from .connection_limit import ConnectionLimiter
from .limits import DEFAULT_LIMITS, ServerLimits
from .messages import Handler

if TYPE_CHECKING:
    from .tls import TlsContextFactory

logger: Final = logging.getLogger(__name__)


def parse_listen_address(address: str) -> tuple[str, int]:
    """Split `host:port`, `[IPv6]:port` or `:port` (all interfaces: the host is then empty).

    Raises ValueError for anything else.
    """
    host, colon, digits = address.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not colon or (":" in host and not bracketed):
        raise ValueError(f"listen address {address!r}: expected host:port, [IPv6 address]:port or :port")
    if not (digits.isascii() and digits.isdigit() and int(digits) <= 65535):
        raise ValueError(f"listen address {address!r}: the port must be a number from 0 to 65535")
    return (host[1:-1] if bracketed else host), int(digits)


def listen(address: str, backlog: int = DEFAULT_LIMITS.backlog) -> socket.socket:
    """Return a socket that listens on an address, in the form that parse_listen_address() accepts.

    `:port` means all interfaces, with IPv6 and IPv4 if the host has both. Raises ValueError for a malformed
    address, OSError if it is not available.
    """
    host, port = parse_listen_address(address)
    try:
        return _open_listener(*_resolve_address(host, port), backlog)
    except OSError as error:
        raise OSError(error.errno, f"cannot listen on {address}: {error.strerror or error}") from error


def serve(
    handler: Handler,
    listeners: Sequence[socket.socket],
    limits: ServerLimits = DEFAULT_LIMITS,
    *,
    tls: Callable[[], TlsContextFactory | None] = lambda: None,
    reload: Callable[[], object] = lambda: None,
    stop: threading.Event | None = None,
) -> None:
    """Serve until SIGINT or SIGTERM (on Windows also SIGBREAK), finish responses in progress, and return.

    A second SIGINT cancels the responses in progress too. Signals are handled only in the main thread.
    Notifies systemd when the server is ready and when it stops. Closes the listeners.

    tls: called for each new connection.
    reload: called in this thread for each SIGHUP.
    stop: another thread sets it to stop the server, as SIGINT does.
    """
    asyncio.run(_Server(handler, limits, tls, reload).run(listeners, stop))
    logger.info("Stopped")


def _resolve_address(host: str, port: int) -> tuple[int, Any]:
    candidates = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    # IPv4 for a name with both families, such as localhost, like Go's listeners.
    preferred_family = socket.AF_INET6 if not host and socket.has_dualstack_ipv6() else socket.AF_INET
    family, _, _, _, endpoint = min(candidates, key=lambda info: info[0] != preferred_family)
    return family, endpoint


def _open_listener(family: int, endpoint: Any, backlog: int) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        if sys.platform == "win32":
            # On Windows SO_REUSEADDR would allow any other program to take over the port.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        else:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind(endpoint)
        listener.listen(backlog)
    except OSError:
        listener.close()
        raise
    return listener


class _Server:
    """Accepts connections until a signal stops it. Does not wake up without connections."""

    def __init__(
        self,
        handler: Handler,
        limits: ServerLimits,
        tls: Callable[[], TlsContextFactory | None],
        reload: Callable[[], object],
    ) -> None:
        self._handler = handler
        self._limits = limits
        self._tls = tls
        self._reload = reload
        self._limiter = ConnectionLimiter[Connection](limits.max_connections)
        self._stopping = asyncio.Event()
        self._log = LogOnChange(logger)

    async def run(self, listeners: Sequence[socket.socket], stop: threading.Event | None = None) -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _loop, context: self._log_loop_error(context))
        self._handle_signals(loop)
        if stop:
            threading.Thread(target=self._await_stop, args=(stop, loop), name="stop", daemon=True).start()
        for listener in listeners:
            address, is_tls = format_socket_address(listener.getsockname()), self._tls() is not None
            logger.info("Listening on", extra=fields(address=address, tls=is_tls))
        accepting = [loop.create_task(self._accept(listener)) for listener in listeners]
        systemd.notify_ready()
        await self._stopping.wait()
        systemd.notify_stopping()
        for listener, task in zip(listeners, accepting, strict=True):
            # Otherwise asyncio accepts a client that connects now, for the cancelled task, and logs an error.
            # NotImplementedError: the event loop of Windows, which has no readers.
            with contextlib.suppress(NotImplementedError):
                loop.remove_reader(listener)
            task.cancel()
        await asyncio.wait(accepting)
        for listener in listeners:
            listener.close()
        if tasks := [connection.stop() for connection in self._limiter]:
            await asyncio.wait(tasks, timeout=self._limits.shutdown_timeout)
        for number in (signal.SIGINT, signal.SIGTERM):
            # Otherwise a second signal would kill the process after the event loop has removed its handlers.
            # NotImplementedError: Windows, where they stay.
            with contextlib.suppress(NotImplementedError):
                if loop.remove_signal_handler(number):
                    signal.signal(number, signal.SIG_IGN)

    def _handle_signals(self, loop: asyncio.AbstractEventLoop) -> None:
        def call(action: Callable[[int], object]) -> Callable[[int, object], None]:
            """Return a signal handler that has the event loop call the action."""

            def handle(number: int, _frame: object) -> None:
                # RuntimeError: the loop is closed, there is nothing left to stop.
                with contextlib.suppress(RuntimeError):
                    loop.call_soon_threadsafe(action, number)

            return handle

        for name, action in (
            ("SIGINT", self._stop),
            ("SIGTERM", self._stop),
            ("SIGBREAK", self._stop),
            ("SIGHUP", lambda _number: self._reload()),
        ):
            if number := getattr(signal, name, None):
                # ValueError, RuntimeError: this is not the main thread.
                with contextlib.suppress(ValueError, RuntimeError):
                    try:
                        # Wakes the event loop also if another thread receives the signal.
                        loop.add_signal_handler(number, action, number)
                    except NotImplementedError:
                        # Windows, whose event loop always wakes up for a signal.
                        signal.signal(number, call(action))

    def _await_stop(self, stop: threading.Event, loop: asyncio.AbstractEventLoop) -> None:
        """Stop the server when another thread asks for it. Runs in a thread of its own."""
        stop.wait()
        # RuntimeError: the loop is closed, there is nothing left to stop.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(self._stopping.set)

    def _stop(self, number: int) -> None:
        if self._stopping.is_set() and number == signal.SIGINT:
            for connection in self._limiter:
                connection.reset()
        self._stopping.set()

    async def _accept(self, listener: socket.socket) -> None:
        """Accept connections until cancelled."""
        loop = asyncio.get_running_loop()
        listener.setblocking(False)
        while True:
            try:
                sock, client = await loop.sock_accept(listener)
            except ConnectionError:
                # The client has closed the connection already.
                pass
            except OSError as error:
                self._log.failing("accept", "Accepting connections failed", error=error)
                await asyncio.sleep(self._limits.accept_retry_interval)
            else:
                self._log.recovered("accept", "Accepting connections recovered")
                self._serve(sock, client)
            # One connection at a time: an evicted one is closed before the next is accepted.
            await asyncio.sleep(0)

    def _serve(self, sock: socket.socket, client: Any) -> None:
        if sock.family != getattr(socket, "AF_UNIX", None):
            # asyncio sets it for its transports only, and only on Linux. OSError: the client has closed.
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = Connection(sock, format_socket_address(client), self._handler, self._limits, self._tls())
        if self._limiter.add(connection):
            connection.start(closed=self._limiter.remove)
        else:
            connection.close()

    def _log_loop_error(self, context: dict[str, Any]) -> None:
        """Log an error that asyncio reports, once."""
        message = context["message"]
        self._log.failing(message, message, error=context.get("exception"))
