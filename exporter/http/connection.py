"""Connection of one client: TLS handshake, requests and responses, each with a timeout."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
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

# The target may be an absolute URL, as for a proxy (RFC 9112, section 3.2.2).
_ORIGIN: Final = re.compile(r"\Ahttps?://[^/?]*", re.IGNORECASE)

_BAD_REQUEST: Final = Response(400, b"bad request\n")
_BODY_TOO_LARGE: Final = Response(413, b"request body too large\n")
_SERVER_ERROR: Final = Response(500, b"internal server error\n")
_HTTP_ON_TLS_PORT: Final = Response(400, b"Client sent an HTTP request to an HTTPS server.\n")


def format_socket_address(address: Any) -> str:
    """Return a socket address as `host:port` or `[IPv6]:port`, that of a Unix socket as its path."""
    if not isinstance(address, tuple):
        return str(address) or "unknown"
    host, port = address[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class Connection:
    """Connection of one client, served by one task.

    The connection is reset, which leaves no TIME_WAIT on the server's port, unless it ends after a complete
    response.

    client: address, for the log. handler: called for each request. tls: None for plain HTTP.
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
        self._head_only = False
        self._stopping = False
        self._reset_on_close = True

    def start(self, closed: Callable[[Connection], object]) -> None:
        """Start the task. closed: called when the socket has been closed."""

        def close(task: asyncio.Task[None]) -> None:
            self.close()
            if not task.cancelled() and (error := task.exception()):
                logger.error("Connection failed", exc_info=error)
            closed(self)

        self._task = self._loop.create_task(self._serve())
        # A callback instead of `finally`: it is called even if the task is cancelled before it starts.
        self._task.add_done_callback(close)

    def reset(self) -> None:
        """Cancel the task, which closes the connection in any phase."""
        self._task.cancel()

    def stop(self) -> asyncio.Task[None]:
        """Close the connection, after the response in progress if there is one. Return the task."""
        self._stopping = True
        if self.phase is Phase.READING:
            self.reset()
        elif self.phase is Phase.IDLE and self._keep_alive:
            # RuntimeError: the timeout has just expired or ended.
            with contextlib.suppress(RuntimeError):
                self._keep_alive.reschedule(self._loop.time())
        return self._task

    def close(self) -> None:
        """Close the socket, by a reset unless the last response is complete."""
        if self._reset_on_close:
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
                # Not kept in a variable: an idle connection would hold the response in memory.
                await self._send(await self._await_response(request))
                if self._stopping or not self._keeps_alive():
                    break
                self._http.start_next_cycle()
                self._enter(Phase.IDLE)
                request = await self._await_next_request()
            async with asyncio.timeout(self._limits.write_timeout):
                await self._stream.end()
            self._reset_on_close = False
        except OSError:
            # The client has closed the connection or exceeded a timeout.
            pass
        finally:
            if self._reading:
                # Before the socket is closed: the event loop knows it by its fd, which will be reused.
                self._reading.cancel()
                await asyncio.gather(self._reading, return_exceptions=True)

    def _keeps_alive(self) -> bool:
        return self._http.our_state is h11.DONE and self._http.their_state is h11.DONE

    def _enter(self, phase: Phase) -> None:
        self.phase, self.since = phase, self._loop.time()

    async def _handshake(self, tls: TlsContextFactory) -> None:
        """Perform the TLS handshake. Raises OSError if it fails, after the alert has been sent."""
        self._stream = stream = TlsStream(self._sock, self._limits, tls.context())
        try:
            ssl_object = await stream.handshake()
        except OSError as error:
            tls.log_handshake_failure(error, self._client)
            if isinstance(error, ssl.SSLError):
                if error.reason == "HTTP_REQUEST":
                    self._stream = Stream(self._sock, self._limits)
                    await self._send(_HTTP_ON_TLS_PORT, close=True)
                # In TLS 1.3 the client considers the handshake complete and has sent its request: after a
                # reset its kernel would discard the alert.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._limits.tls_alert_timeout):
                        await stream.wait_closed()
            raise
        if not tls.san_allowed(ssl_object):
            tls.log_handshake_failure("no name of its certificate is allowed", self._client)
            raise ConnectionAbortedError

    async def _await_next_request(self) -> Request | None:
        """Return the next request; None if the client closes the connection or exceeds keep_alive_timeout."""
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
        """Return a request, whose body is discarded; None if the client closes the connection.

        Raises OSError for an invalid request, after an error response.
        """
        request: h11.Request | None = None
        self._head_only = False
        body_bytes = 0
        while True:
            try:
                event = self._http.next_event()
            except h11.RemoteProtocolError:
                # In other states no response can be sent.
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
                self._head_only = request.method == b"HEAD"
            elif isinstance(event, h11.Data):
                # Other connections are served in between: one read may have thousands of tiny chunks. A body
                # of 1 MiB in chunks of one byte delayed them by 7 s, now by 10 ms.
                await asyncio.sleep(0)
                body_bytes += len(event.data)
                if body_bytes > self._limits.max_body_bytes:
                    await self._send(_BODY_TOO_LARGE, close=True)
                    raise ConnectionAbortedError
            else:
                return _to_request(request) if request and isinstance(event, h11.EndOfMessage) else None

    async def _await_response(self, request: Request) -> Response:
        """Return the handler's response. Raises OSError if the client closes the connection before."""
        handling = self._loop.create_task(self._handle(request))
        try:
            # Stop reading from a client that has sent more than read_chunk_bytes of pipelined requests.
            while not handling.done() and len(self._http.trailing_data[0]) < self._limits.read_chunk_bytes:
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
        """Return the next bytes, from the read that has started during the last response if there is one."""
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

    async def _send(self, response: Response, *, close: bool = False) -> None:
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
        body = b"" if self._head_only else response.body
        # h11 only counts the body; it is written below without a copy.
        self._http.send_with_data_passthrough(h11.Data(data=body))
        self._http.send(h11.EndOfMessage())
        async with asyncio.timeout(self._limits.write_timeout):
            if len(body) <= self._limits.write_chunk_bytes:
                # One write: head and body are one segment if they fit.
                await self._stream.write(head + body)
            else:
                await self._stream.write(head)
                await self._stream.write(body)


def _to_request(request: h11.Request) -> Request:
    target = _ORIGIN.sub("", request.target.decode("ascii"))
    path, _, query = target.partition("?")
    return Request(request.method.decode("ascii"), unquote(path) or "/", query, header_dict(request.headers))
