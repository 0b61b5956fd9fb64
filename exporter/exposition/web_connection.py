"""Connections: a bounded number of them, with deadlines for what their clients have to do."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import struct
import sys
from typing import Any, Final

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from .reply import AsgiApplication, Receive, Scope, Send
from .web_crowd import Crowd, Deadline, Limits, State

# uvicorn warns of every request that is none. Here clients do not fill the log; a bug of ours is an error.
_clients_log: Final = logging.getLogger("uvicorn.error.clients")
_clients_log.setLevel(logging.ERROR)

# SO_LINGER: on, with 0 seconds, and off. Winsock's struct has short members.
_NO_LINGER: Final = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)
_LINGER: Final = bytes(len(_NO_LINGER))

_PIECE: Final = 65_536
"""Bytes of an answer written at a time: all that a client costs that does not read, but for the kernel's."""

_BAD_REQUEST: Final = b"bad request\n"
_BAD_REQUEST_HEADERS: Final = (
    (b"content-type", b"text/plain; charset=utf-8"),
    (b"content-length", str(len(_BAD_REQUEST)).encode()),
    (b"connection", b"close"),
)


class Connection(H11Protocol):
    """uvicorn's connection, one of a bounded number, with deadlines for what the client has to do."""

    def __init__(self, config: uvicorn.Config, limits: Limits, crowd: Crowd, **others: Any) -> None:
        super().__init__(config, **others)
        self.app = _in_pieces(self.app)
        self.logger = _clients_log
        self.since = 0.0
        self._crowd = crowd
        self._below: asyncio.Transport | None = None
        self._request_deadline = Deadline(limits.request_seconds, self.reset)
        self._response_deadline = Deadline(limits.response_seconds, self._response_is_due)

    @property
    def is_open(self) -> bool:
        """Whether requests can come: over TLS, only after the handshake."""
        return self.transport is not None

    @property
    def state(self) -> State:
        if self._request_deadline.runs or self._last is None:
            return State.ASKING
        return State.IDLE if self._last.response_complete else State.ANSWERING

    @property
    def _last(self) -> RequestResponseCycle | None:
        """The request that is being answered, or was last; uvicorn keeps quiet about None."""
        return self.cycle

    @property
    def _is_answering(self) -> bool:
        return self._last is not None and not self._last.response_complete

    def arrive(self, below: asyncio.Transport) -> None:
        """Takes notice of a client. below: the transport that has the socket."""
        self._below = below
        # Whatever the kernel does not take at once calls pause_writing.
        below.set_write_buffer_limits(high=0)
        self.since = self.loop.time()
        self._request_deadline.start()
        self._crowd.enter(self)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if self._below is None:
            self.arrive(transport)
        else:
            # Not 0: asyncio's TLS would wait for an empty buffer to be emptied.
            transport.set_write_buffer_limits(high=1, low=0)

    def data_received(self, data: bytes) -> None:
        if not self._is_answering:
            self._response_deadline.stop()
        super().data_received(data)
        self._await_request()

    def on_response_complete(self) -> None:
        self.since = self.loop.time()
        if self._unsent():
            self._response_deadline.start()
        else:
            self._response_deadline.stop()
        super().on_response_complete()
        self._await_request()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002  # uvicorn's words
        """Answers what is no request, where an answer can still be sent, and ends the connection."""
        if self._is_answering:
            self.cycle.disconnected = True
            self.reset()
            return
        try:
            # With its length, since the end will be a reset.
            response = h11.Response(
                status_code=400, headers=list(_BAD_REQUEST_HEADERS), reason=b"Bad Request"
            )
            events = (response, h11.Data(data=_BAD_REQUEST), h11.EndOfMessage())
            answer = b"".join(filter(None, map(self.conn.send, events)))
        except h11.LocalProtocolError:
            # It is the body, of a request that has had its answer.
            self.reset()
            return
        self.end_by_reset(abrupt=True)
        self.transport.write(answer)
        self.transport.close()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._response_deadline.start()

    def resume_writing(self) -> None:
        super().resume_writing()
        # Else the deadline is that of the whole answer, of which there is more.
        if not self._is_answering:
            self._response_deadline.stop()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.left()

    def left(self) -> None:
        """Forgets the client."""
        self._request_deadline.stop()
        self._response_deadline.stop()
        self._crowd.leave(self)

    def reset(self) -> None:
        """Ends the connection at once."""
        if self._below:
            self.end_by_reset(abrupt=True)
            self._below.abort()

    def _await_request(self) -> None:
        """Starts the deadline of a request that has begun, ends that of one that is complete."""
        first = self.cycle is None
        begun = self.conn.their_state is h11.IDLE and (first or self.conn.trailing_data[0])
        if begun or self.conn.their_state is h11.SEND_BODY:
            self._request_deadline.start()
        else:
            self._request_deadline.stop()

    def end_by_reset(self, *, abrupt: bool) -> None:
        """Whether the end, whoever brings it about, is a reset: that leaves no TIME_WAIT on our port."""
        if self._below:
            how, connection = _NO_LINGER if abrupt else _LINGER, self._below.get_extra_info("socket")
            with contextlib.suppress(OSError):
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, how)

    def _response_is_due(self) -> None:
        # Over TLS nobody says when the last piece has gone: it may have, long ago.
        if self._unsent() or self.flow.write_paused:
            self.reset()

    def _unsent(self) -> bool:
        return bool(self._below and self._below.get_write_buffer_size())


def _in_pieces(application: AsgiApplication) -> AsgiApplication:
    """Writes big answers in pieces, each when the last is on its way: who does not read costs little."""

    async def in_pieces(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_pieces(message: dict[str, Any]) -> None:
            body = memoryview(message.get("body", b""))
            for start in range(0, len(body) - _PIECE, _PIECE):
                await send({**message, "body": bytes(body[start : start + _PIECE]), "more_body": True})
            if len(body) > _PIECE:
                message = {**message, "body": bytes(body[(len(body) - 1) // _PIECE * _PIECE :])}
            await send(message)

        await application(scope, receive, send_pieces)

    return in_pieces
