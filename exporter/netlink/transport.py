"""`sock_diag` requests, and their replies as raw bytes.

Layouts: include/uapi/linux/{netlink,sock_diag,inet_diag}.h; behaviour: net/ipv4/inet_diag.c.
Importable on every system, usable on Linux only.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final

from .dump_reader import RECEIVE_BYTES, DumpReader

NLM_F_REQUEST: Final = 0x1
DUMP_FLAGS: Final = 0x301
"""NLM_F_REQUEST and NLM_F_DUMP."""
NLMSG_ERROR: Final = 2
NLMSG_DONE: Final = 3
TCPDIAG_GETSOCK: Final = 18
SOCK_DIAG_BY_FAMILY: Final = 20

AF_NETLINK: Final = 16
NETLINK_SOCK_DIAG: Final = 4
AF_INET: Final = 2
AF_INET6: Final = 10

HEADER: Final = struct.Struct("=IHHII")
"""struct nlmsghdr: size, type, flags, sequence number, port id."""
_REQ_COMPAT: Final = struct.Struct("=BBBB48xII")  # struct inet_diag_req
_REQ_V2: Final = struct.Struct("=BBBxI48x")  # struct inet_diag_req_v2 with an empty socket id
_REQ_V2_WITH_ID: Final = struct.Struct("=BBBxI48s")
_PROTOCOL_ATTRIBUTE: Final = struct.Struct("=HHI")
_INET_DIAG_REQ_PROTOCOL: Final = 3
_IPPROTO_MPTCP: Final = 262

# Errors of kernels that do not support a request.
_UNSUPPORTED_ERRNOS: Final = frozenset({errno.ENOENT, errno.EINVAL, errno.EOPNOTSUPP})


class NetlinkError(Exception):
    """The kernel refused a request, or its reply is malformed. `errno` is None for a malformed reply."""

    def __init__(self, message: str, error: int | None = None) -> None:
        super().__init__(message)
        self.errno = error

    @classmethod
    def from_errno(cls, error: int, action: str) -> NetlinkError:
        """Return the exception for an error number of the kernel: `sock_diag: EPERM while ACTION: ...`."""
        name = errno.errorcode.get(error, f"errno {error}")
        return cls(f"sock_diag: {name} while {action}: {os.strerror(error)}", error)


def dump_request_compat(states: int, extensions: int = 0) -> bytes:
    """Return a request for the IPv4 and IPv6 sockets in `states`, which the kernel dumps in one pass.

    TCPDIAG_GETSOCK is the older form of the request. Its dump passes AF_UNSPEC to tcp_diag
    (inet_diag_dump_compat): the kernel walks its socket table once instead of twice.

    states: mask of 1 << state. extensions: mask of 1 << number - 1, the attributes to include.
    """
    return _build_message(TCPDIAG_GETSOCK, _REQ_COMPAT.pack(0, 0, 0, extensions, states, 0))


def dump_request(family: int, states: int, extensions: int = 0) -> bytes:
    """Return a request for the sockets of one address family (inet_diag_req_v2).

    states, extensions: as for dump_request_compat().
    """
    return _build_message(SOCK_DIAG_BY_FAMILY, _REQ_V2.pack(family, socket.IPPROTO_TCP, extensions, states))


def mptcp_dump_request(family: int, states: int, extensions: int = 0) -> bytes:
    """Return a request for the MPTCP sockets of one address family.

    The protocol number 262 does not fit into the byte of the request: an attribute contains it
    (inet_diag_get_protocol, Linux 5.9), and the byte is 0. Older kernels ignore the attribute and reply
    ENOENT, since no protocol has the number 0.

    states, extensions: as for dump_request_compat().
    """
    body = _REQ_V2.pack(family, 0, extensions, states)
    attribute = _PROTOCOL_ATTRIBUTE.pack(_PROTOCOL_ATTRIBUTE.size, _INET_DIAG_REQ_PROTOCOL, _IPPROTO_MPTCP)
    return _build_message(SOCK_DIAG_BY_FAMILY, body + attribute)


def get_request(family: int, socket_id: bytes, extensions: int = 0) -> bytes:
    """Return a request for one socket.

    The kernel finds it by addresses and ports (inet_diag_find_one_icsk), and replies ENOENT if it has
    vanished, ESTALE if another one has its addresses and ports.

    socket_id: the 48 bytes of struct inet_diag_sockid from a dump, including the cookie.
    extensions: as for dump_request_compat().
    """
    body = _REQ_V2_WITH_ID.pack(family, socket.IPPROTO_TCP, extensions, 0, socket_id)
    return _build_message(SOCK_DIAG_BY_FAMILY, body, NLM_F_REQUEST)


def _build_message(message_type: int, body: bytes, flags: int = DUMP_FLAGS) -> bytes:
    return HEADER.pack(HEADER.size + len(body), message_type, flags, 1, 0) + body


class SockDiagClient:
    """Sends `sock_diag` requests and returns the replies, each request on a socket of its own.

    timeout: seconds to wait for each datagram before NetlinkError is raised.
    """

    def __init__(self, timeout: float = 5.0) -> None:
        self._timeout = struct.pack("@ll", int(timeout), int(timeout % 1 * 1e6))

    def dump(self, request: bytes, *, prefetch: bool = False) -> Iterator[bytes]:
        """Yield the raw messages of the reply, one or more datagrams at a time.

        The caller must stop at NLMSG_DONE. A thread reads a long reply ahead while the caller decodes: the
        kernel takes as long to dump 100,000 sockets as Python to count them.

        prefetch: read the whole reply ahead.

        Raises NetlinkError if the kernel refuses the request, does not reply in time, or closes the socket.
        """
        with (
            self._open() as sock,
            _convert_errors(),
            DumpReader(sock, prefetch=prefetch) as reader,
        ):
            sock.send(request)
            while data := reader.recv():
                yield data
        raise NetlinkError("sock_diag: the reply ended without NLMSG_DONE")

    def get(self, requests: Iterable[bytes]) -> Iterator[bytes]:
        """Yield the reply to each request for a single socket: one message.

        Raises NetlinkError if the kernel does not reply in time, or closes the socket.
        """
        with self._open() as sock, _convert_errors():
            for request in requests:
                sock.send(request)
                yield sock.recv(RECEIVE_BYTES)

    def _open(self) -> socket.socket:
        try:
            sock = socket.socket(AF_NETLINK, socket.SOCK_RAW, NETLINK_SOCK_DIAG)
        except OSError as error:
            raise NetlinkError.from_errno(error.errno or 0, "opening the socket") from error
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, self._timeout)
        return sock


@contextmanager
def _convert_errors() -> Iterator[None]:
    """Convert every OSError to NetlinkError."""
    try:
        yield
    except BlockingIOError as error:
        raise NetlinkError("sock_diag: timed out waiting for a reply", errno.ETIMEDOUT) from error
    except OSError as error:
        raise NetlinkError.from_errno(error.errno or 0, "reading sockets") from error


def is_unsupported(error: NetlinkError) -> bool:
    """Return whether the kernel does not support the request, but may support another form of it."""
    return error.errno in _UNSUPPORTED_ERRNOS
