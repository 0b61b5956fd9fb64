"""One client's connection: TLS handshake, then requests and responses, each step with a timeout."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
import struct
import sys
from collections.abc import Callable
from email.utils import formatdate
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

import h11

from ..log import fields
from .connection_limit import Phase
from .messages import Handler, Request, Response, header_dict
from .stream import Stream, TlsStream

if TYPE_CHECKING:
    from .limits import ServerLimits
    from .tls import TlsContextFactory

logger: Final = logging.getLogger(__name__)

# SO_LINGER: on, with 0 seconds. Winsock's struct has short members.
_RESET_ON_CLOSE: Final = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)

_BAD_REQUEST: Final = Response(400, b"bad request\n")
_BODY_TOO_LARGE: Final = Response(413, b"request body too large\n")
_SERVER_ERROR: Final = Response(500, b"internal server error\n")
_HTTP_ON_TLS_PORT: Final = Response(400, b"Client sent an HTTP request to an HTTPS server.\n")


def format_socket_address(address: Any) -> str:
    """Return the address of a socket as `host:port` or `[IPv6]:port`; the path of a Unix socket."""
    if not isinstance(address, tuple):
        return str(address) or "unknown"
    host, port = address[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class Connection:
    """A client's connection, served by one task.

    It ends in a reset, which leaves no TIME_WAIT on the server's port, except after a complete exchange.
    """

    def __init__(
        self,
        sock: socket.socket,
        client: str,
        handler: Handler,
        limits: ServerLimits,
        tls: TlsContextFactory | None,
    ) -> None:
        self.phase = Phase.READING
        self._loop = asyncio.get_running_loop()
        self.since = self._loop.time()
        self._sock = sock
        self._client = client
        self._handler = handler
        self._limits = limits
        self._tls = tls
        self._stream = Stream(sock, limits)
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=limits.max_header_bytes)
        self._reading: asyncio.Task[bytes] | None = None
        self._keep_alive: asyncio.Timeout | None = None
        self._stopping = False
        self._resets = True

    def start(self, closed: Callable[[Connection], object]) -> None:
        """Serve the client. closed: called when its socket has been closed."""

        def close(task: asyncio.Task[None]) -> None:
            self.close()
            if not task.cancelled() and (error := task.exception()):
                logger.error("Connection failed", exc_info=error)
            closed(self)

        self._task = self._loop.create_task(self._serve())
        # A callback rather than `finally`: it is called even if the task is cancelled before it has begun.
        self._task.add_done_callback(close)

    def reset(self) -> None:
        """Close the connection soon, whatever it is doing."""
        self._task.cancel()

    def stop(self) -> asyncio.Task[None]:
        """Close the connection, after the response in progress if there is one; return the task that does."""
        self._stopping = True
        if self.phase is Phase.READING:
            self.reset()
        elif self.phase is Phase.IDLE and self._keep_alive:
            # RuntimeError: the wait is over just now.
            with contextlib.suppress(RuntimeError):
                self._keep_alive.reschedule(self._loop.time())
        return self._task

    def close(self) -> None:
        """Close the socket."""
        if self._resets:
            with contextlib.suppress(OSError):
                self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self._sock.close()

    async def _serve(self) -> None:
        try:
            async with asyncio.timeout(self._limits.request_timeout):
                if self._tls:
                    await self._handshake(self._tls)
                request = await self._read_request()
            while request:
                self._enter(Phase.RESPONDING)
                # Not in a variable: an idle connection would keep the response in memory.
                await self._send(await self._response(request), head_only=request.method == "HEAD")
                if self._stopping or not self._keeps_alive():
                    break
                self._http.start_next_cycle()
                self._enter(Phase.IDLE)
                request = await self._next_request()
            async with asyncio.timeout(self._limits.write_timeout):
                await self._stream.end()
            self._resets = False
        except OSError:
            # The client has gone, or exceeded a timeout.
            pass
        finally:
            if self._reading:
                # Before the socket is closed: the event loop knows it by a number that is used again.
                self._reading.cancel()
                await asyncio.gather(self._reading, return_exceptions=True)

    def _keeps_alive(self) -> bool:
        return self._http.our_state is h11.DONE and self._http.their_state is h11.DONE

    def _enter(self, phase: Phase) -> None:
        self.phase, self.since = phase, self._loop.time()

    async def _handshake(self, tls: TlsContextFactory) -> None:
        """Agree on TLS. Raises OSError where that fails, after the client has been told why."""
        self._stream = stream = TlsStream(self._sock, self._limits, tls.context())
        try:
            agreed = await stream.handshake()
        except OSError as error:
            tls.log_handshake_failure(error, self._client)
            if isinstance(error, ssl.SSLError):
                if error.reason == "HTTP_REQUEST":
                    self._stream = Stream(self._sock, self._limits)
                    await self._send(_HTTP_ON_TLS_PORT, close=True)
                # In TLS 1.3 the client has taken the handshake for complete and sent its request: a reset now
                # would have its kernel discard the alert.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._limits.tls_alert_timeout):
                        await stream.wait_closed()
            raise
        if not tls.san_allowed(agreed):
            tls.log_handshake_failure("no name of its certificate is allowed", self._client)
            raise ConnectionAbortedError

    async def _next_request(self) -> Request | None:
        """Return the next request; None when the client has closed, or exceeded keep_alive_timeout."""
        if not self._http.trailing_data[0]:
            try:
                async with asyncio.timeout(self._limits.keep_alive_timeout) as self._keep_alive:
                    self._http.receive_data(await self._read())
            except TimeoutError:
                return None
        self._enter(Phase.READING)
        async with asyncio.timeout(self._limits.request_timeout):
            return await self._read_request()

    async def _read_request(self) -> Request | None:
        """Return a request, its body discarded; None when the client has closed.

        Raises OSError for what is no request, after it has been answered.
        """
        request: h11.Request | None = None
        body_bytes = 0
        while True:
            try:
                event = self._http.next_event()
            except h11.RemoteProtocolError:
                # What comes after the response to a request cannot be answered.
                if self._http.our_state in (h11.IDLE, h11.SEND_RESPONSE):
                    await self._send(_BAD_REQUEST, close=True)
                raise ConnectionAbortedError from None
            if event is h11.NEED_DATA:
                if self._http.they_are_waiting_for_100_continue:
                    interim = h11.InformationalResponse(status_code=100, headers=[], reason=b"Continue")
                    await self._stream.write(self._http.send(interim) or b"")
                self._http.receive_data(await self._read())
            elif isinstance(event, h11.Request):
                request = event
            elif isinstance(event, h11.Data):
                body_bytes += len(event.data)
                if body_bytes > self._limits.max_body_bytes:
                    await self._send(_BODY_TOO_LARGE, close=True)
                    raise ConnectionAbortedError
            else:
                return _request(request) if request and isinstance(event, h11.EndOfMessage) else None

    async def _response(self, request: Request) -> Response:
        """Return the handler's response. Raises OSError when the client closes before there is one."""
        handling = self._loop.create_task(self._handle(request))
        try:
            # A client that sends much ahead is no longer watched.
            while not handling.done() and len(self._http.trailing_data[0]) < self._limits.read_size:
                self._reading = self._reading or self._loop.create_task(self._stream.read())
                await asyncio.wait((handling, self._reading), return_when=asyncio.FIRST_COMPLETED)
                if self._reading.done():
                    received = await self._read()
                    if not received and not handling.done():
                        raise ConnectionAbortedError
                    self._http.receive_data(received)
            return await handling
        finally:
            handling.cancel()

    async def _read(self) -> bytes:
        """Return the next bytes, be it from a read that has begun during the last response."""
        if self._reading is None:
            return await self._stream.read()
        received = await self._reading
        self._reading = None
        return received

    async def _handle(self, request: Request) -> Response:
        try:
            return await self._handler(request)
        except Exception:
            logger.exception("Request handler failed", extra=fields(path=request.path))
            return _SERVER_ERROR

    async def _send(self, response: Response, *, head_only: bool = False, close: bool = False) -> None:
        headers = [
            (b"date", formatdate(usegmt=True).encode()),
            (b"content-type", response.content_type.encode()),
            (b"content-length", str(len(response.body)).encode()),
            *response.headers,
        ]
        if close or self._stopping:
            headers.append((b"connection", b"close"))
        reason = HTTPStatus(response.status).phrase.encode()
        start = h11.Response(status_code=response.status, headers=headers, reason=reason)
        head = self._http.send(start) or b""
        body = b"" if head_only else response.body
        # Only to be counted: what it returns is the body itself, without a copy.
        self._http.send_with_data_passthrough(h11.Data(data=body))
        self._http.send(h11.EndOfMessage())
        async with asyncio.timeout(self._limits.write_timeout):
            if len(body) <= self._limits.write_size:
                # In one segment, if it fits.
                await self._stream.write(head + body)
            else:
                await self._stream.write(head)
                await self._stream.write(body)


def _request(request: h11.Request) -> Request:
    path, _, query = request.target.decode("ascii").partition("?")
    return Request(request.method.decode("ascii"), unquote(path), query, header_dict(request.headers))
