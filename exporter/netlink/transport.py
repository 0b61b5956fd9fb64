"""Asks the Linux kernel for its TCP sockets: requests and transport of `sock_diag`, no decoding.

Layouts: include/uapi/linux/{netlink,sock_diag,inet_diag}.h; behaviour: net/ipv4/inet_diag.c.
Importable everywhere, usable on Linux only.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final

from . import dump_reader
from .dump_reader import RECEIVE_BYTES

NLM_F_REQUEST: Final = 0x1
NLMSG_ERROR: Final = 2
NLMSG_DONE: Final = 3
TCPDIAG_GETSOCK: Final = 18
SOCK_DIAG_BY_FAMILY: Final = 20

AF_NETLINK: Final = 16
NETLINK_SOCK_DIAG: Final = 4
REQUEST_DUMP: Final = 0x301
AF_INET: Final = 2
AF_INET6: Final = 10

HEADER: Final = struct.Struct("=IHHII")
_COMPATIBLE: Final = struct.Struct("=BBBB48xII")
_BY_FAMILY: Final = struct.Struct("=BBBxI48x")
_ONE: Final = struct.Struct("=BBBxI48s")
_PROTOCOL: Final = struct.Struct("=HHI")
_REQ_PROTOCOL: Final = 3
_IPPROTO_MPTCP: Final = 262

# What kernels answer to a request that they do not know; anything else is a real failure.
_NOT_OFFERED: Final = frozenset({errno.ENOENT, errno.EINVAL, errno.EOPNOTSUPP})


class NetlinkError(Exception):
    """The kernel refused, or its answer makes no sense. `errno` is None for the latter."""

    def __init__(self, problem: str, error: int | None = None) -> None:
        super().__init__(problem)
        self.errno = error

    @classmethod
    def of_kernel(cls, error: int, doing: str) -> NetlinkError:
        """The error number that the kernel gave, by its name: `sock_diag: EPERM: ...`."""
        name = errno.errorcode.get(error, f"errno {error}")
        return cls(f"sock_diag: {name} while {doing}: {os.strerror(error)}", error)


def request_both_families(states: int, extensions: int = 0) -> bytes:
    """A request for the IPv4 and IPv6 sockets in `states` (bit 1 << number) in one walk, with the
    attributes in `extensions` (bit 1 << number - 1).

    TCPDIAG_GETSOCK is the older form of the request; its dump passes AF_UNSPEC to tcp_diag
    (inet_diag_dump_compat), so that the kernel walks its table of sockets once, not twice.
    """
    return _message(TCPDIAG_GETSOCK, _COMPATIBLE.pack(0, 0, 0, extensions, states, 0))


def request_one_family(family: int, states: int, extensions: int = 0) -> bytes:
    """A request for the sockets of one address family in `states` (inet_diag_req_v2)."""
    return _message(SOCK_DIAG_BY_FAMILY, _BY_FAMILY.pack(family, socket.IPPROTO_TCP, extensions, states))


def request_mptcp(family: int, states: int, extensions: int = 0) -> bytes:
    """A request for the MPTCP sockets of one address family in `states`.

    262 does not fit into the protocol's byte: it stays 0, which no kernel has a table for, and an
    attribute names the protocol (inet_diag_get_protocol, Linux 5.9). An older kernel overlooks
    the attribute and answers ENOENT.
    """
    body = _BY_FAMILY.pack(family, 0, extensions, states)
    return _message(SOCK_DIAG_BY_FAMILY, body + _PROTOCOL.pack(_PROTOCOL.size, _REQ_PROTOCOL, _IPPROTO_MPTCP))


def request_one_socket(family: int, identity: bytes, extensions: int = 0) -> bytes:
    """A request for one socket, found by its ports and addresses (inet_diag_find_one_icsk).

    identity: the 48 bytes of struct inet_diag_sockid as a dump gave them; the cookie among them has to
    be the same still. What is gone is answered with ENOENT, or ESTALE for another in its place.
    """
    body = _ONE.pack(family, socket.IPPROTO_TCP, extensions, 0, identity)
    return _message(SOCK_DIAG_BY_FAMILY, body, NLM_F_REQUEST)


def _message(kind: int, body: bytes, flags: int = REQUEST_DUMP) -> bytes:
    return HEADER.pack(HEADER.size + len(body), kind, flags, 1, 0) + body


class Transport:
    """Sends one request and gives the answer, batch by batch.

    timeout: seconds that the kernel may take for each batch before NetlinkError.
    """

    def __init__(self, timeout: float = 5.0) -> None:
        self._timeout = struct.pack("@ll", int(timeout), int(timeout % 1 * 1e6))

    def exchange(self, request: bytes, *, at_once: bool = False) -> Iterator[bytes]:
        """The raw messages of the answer, without end: the caller stops at NLMSG_DONE.

        While the caller works on a part of a long answer, a thread reads the next: the kernel takes as
        long to tell of a hundred thousand sockets as Python to count them. at_once: the thread reads also
        while the caller does something else.
        Raises NetlinkError when the kernel refuses, stalls or closes.
        """
        with (
            self._open() as channel,
            _as_netlink_errors(),
            dump_reader.Reader(channel, at_once=at_once) as reader,
        ):
            channel.send(request)
            while batch := reader.next():
                yield batch
        raise NetlinkError("sock_diag: the answer ended without NLMSG_DONE")

    def ask(self, requests: Iterable[bytes]) -> Iterator[bytes]:
        """The one message that answers each of the requests, which are not dumps.

        Raises NetlinkError when the kernel stalls or closes.
        """
        with self._open() as channel, _as_netlink_errors():
            for request in requests:
                channel.send(request)
                yield channel.recv(RECEIVE_BYTES)

    def _open(self) -> socket.socket:
        try:
            channel = socket.socket(AF_NETLINK, socket.SOCK_RAW, NETLINK_SOCK_DIAG)
        except OSError as failure:
            raise NetlinkError.of_kernel(failure.errno or 0, "opening the socket") from failure
        channel.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, self._timeout)
        return channel


@contextmanager
def _as_netlink_errors() -> Iterator[None]:
    try:
        yield
    except BlockingIOError as failure:
        raise NetlinkError("sock_diag: the kernel stopped answering", errno.ETIMEDOUT) from failure
    except OSError as failure:
        raise NetlinkError.of_kernel(failure.errno or 0, "reading sockets") from failure


def not_offered(failure: NetlinkError) -> bool:
    """Whether the kernel does not know the request, so that another form of it is worth a try."""
    return failure.errno in _NOT_OFFERED
