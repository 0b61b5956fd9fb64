"""The transport, against the real kernel where it can be made to answer so, else against a stand-in."""

from __future__ import annotations

import errno
import os
import socket
import struct
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from exporter.netlink import transport
from exporter.netlink.decoder import SizeSorter
from exporter.netlink.source import NetlinkSource
from exporter.netlink.transport import (
    NetlinkError,
    SockDiagClient,
    dump_request,
    dump_request_compat,
    is_unsupported,
)
from exporter.system import choose_source

from ..children import block_sockets, blocked_errno, can_block_sockets, in_child
from .messages import BY_FAMILY, GETSOCK, done, row, split

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")

ALL = 0xFFF
DESCRIPTORS = Path("/proc/self/fd")


def header(size: int, kind: int) -> bytes:
    return struct.pack("=IHHII", size, kind, 0x301, 1, 0)


def answer_to(request: bytes, transport: SockDiagClient | None = None) -> list[bytes]:
    """The whole answer, up to its end."""
    runs, messages = SizeSorter(), []
    for data in (transport or SockDiagClient()).dump(request):
        messages.append(data)
        if runs.group_by_size(data)[1]:
            return messages
    raise AssertionError


@pytest.fixture
def no_leak() -> Iterator[None]:
    """Fail if a descriptor stays open."""
    before = set(DESCRIPTORS.iterdir())
    yield
    assert set(DESCRIPTORS.iterdir()) <= before  # earlier tests may have left some that are closed meanwhile


@pytest.fixture
def peer(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """Return the other end of the socket that the client opens."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with closing(ours), monkeypatch.context() as patched:
        patched.setattr(socket, "socket", lambda *_: theirs)
        yield ours
        theirs.close()


@pytest.mark.usefixtures("no_leak")
class TestRealKernel:
    @pytest.mark.parametrize(
        ("request_", "kind"),
        [(dump_request_compat(ALL), GETSOCK), (dump_request(socket.AF_INET, ALL), BY_FAMILY)],
    )
    def test_replies_have_the_type_of_the_request(self, request_: bytes, kind: int) -> None:
        with socket.create_server(("127.0.0.1", 0)):
            messages = [one for data in answer_to(request_) for one in split(data)]
        assert {struct.unpack_from("=H", one, 4)[0] for one in messages[:-1]} == {kind}
        assert len(messages) >= 2

    def test_dump_request_returns_one_family(self) -> None:
        with socket.create_server(("::1", 0), family=socket.AF_INET6), socket.create_server(("127.0.0.1", 0)):
            for family in (socket.AF_INET, socket.AF_INET6):
                answer = answer_to(dump_request(family, ALL))
                messages = [one for data in answer for one in split(data)][:-1]
                assert {one[16] for one in messages} == {family}

    @pytest.mark.parametrize(
        ("refused", "error"),
        [
            (dump_request(socket.AF_UNSPEC, ALL), errno.ENOENT),
            (dump_request(255, ALL), errno.EINVAL),
            (header(18, BY_FAMILY) + b"\2\6\0\0", errno.EINVAL),
            (header(24, GETSOCK) + bytes(8), errno.EINVAL),
            (header(16 + 56, 77) + bytes(56), errno.EINVAL),
        ],
        ids=["no family", "unknown family", "short", "short older form", "unknown type"],
    )
    def test_errors_are_raised_by_name(self, refused: bytes, error: int) -> None:
        with pytest.raises(NetlinkError, match=errno.errorcode[error]) as raised:
            answer_to(refused)
        assert raised.value.errno == error
        assert os.strerror(error) in str(raised.value)

    def test_malformed_request_times_out(self) -> None:
        with pytest.raises(NetlinkError, match="timed out waiting for a reply") as raised:
            answer_to(bytes(16), SockDiagClient(timeout=0.01))
        assert raised.value.errno == errno.ETIMEDOUT

    def test_socket_is_closed_with_the_iterator(self) -> None:
        answer = SockDiagClient().dump(dump_request_compat(ALL))
        next(answer)
        del answer


@pytest.mark.usefixtures("no_leak")
class TestStandIn:
    @pytest.mark.parametrize("batches", [[], [row()], [row(), row(size=96)]], ids=len)
    def test_stalled_reply_times_out(self, peer: socket.socket, batches: list[bytes]) -> None:
        for batch in batches:
            peer.send(batch)
        answer = SockDiagClient(timeout=0.01).dump(b"request")
        assert [next(answer) for _ in batches] == batches
        with pytest.raises(NetlinkError, match="timed out waiting for a reply") as raised:
            next(answer)
        assert raised.value.errno == errno.ETIMEDOUT

    def test_request_is_sent_and_reply_returned(self, peer: socket.socket) -> None:
        peer.send(row())
        peer.send(row(size=96) + done())
        request = dump_request_compat(ALL)
        assert answer_to(request) == [row(), row(size=96) + done()]
        assert peer.recv(100) == request

    def test_closed_socket_raises(self, peer: socket.socket) -> None:
        peer.send(row())
        peer.shutdown(socket.SHUT_WR)
        with pytest.raises(NetlinkError, match="without NLMSG_DONE") as raised:
            answer_to(b"request")
        assert raised.value.errno is None

    def test_broken_socket_raises_netlink_error(self, peer: socket.socket) -> None:
        peer.close()
        with pytest.raises(NetlinkError, match="EPIPE") as raised:
            answer_to(b"request")
        assert raised.value.errno == errno.EPIPE

    def test_datagrams_of_the_maximum_size_are_not_truncated(self, peer: socket.socket) -> None:
        longest = row() * (32768 // len(row()))
        peer.send(longest)
        peer.send(done())
        assert answer_to(b"request") == [longest, done()]


REFUSALS = [errno.EPERM, errno.EACCES, errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT, errno.EMFILE]


def by_name(error: int) -> str:
    return errno.errorcode[error]


@pytest.mark.parametrize("error", REFUSALS, ids=by_name)
def test_error_on_open_is_raised_by_name(monkeypatch: pytest.MonkeyPatch, error: int) -> None:
    def refuse(*_: object) -> socket.socket:
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(socket, "socket", refuse)
    for ask in (lambda: answer_to(b""), NetlinkSource().probe, lambda: list(NetlinkSource().full_sockets())):
        with pytest.raises(NetlinkError, match=by_name(error)) as raised:
            ask()
        assert raised.value.errno == error


def _probe_in_a_sandbox(error: int) -> tuple[int | None, object]:
    block_sockets(transport.AF_NETLINK, error)
    try:
        NetlinkSource().probe()
    except NetlinkError as failure:
        return blocked_errno(transport.AF_NETLINK), failure.errno
    return blocked_errno(transport.AF_NETLINK), "answered"


@pytest.mark.skipif(not can_block_sockets, reason="the number of socket() on this machine is not known")
@pytest.mark.parametrize("error", [errno.EPERM, errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT], ids=by_name)
def test_sandbox_without_netlink_raises(error: int) -> None:
    assert in_child(_probe_in_a_sandbox, error) == (error, error)


def _choose_in_a_sandbox(wanted: str) -> str:
    block_sockets(transport.AF_NETLINK, errno.EAFNOSUPPORT)
    return choose_source(wanted).name


@pytest.mark.skipif(not can_block_sockets, reason="the number of socket() on this machine is not known")
def test_psutil_is_the_fallback_unless_netlink_is_required() -> None:
    assert in_child(_choose_in_a_sandbox, "auto") == "psutil"
    with pytest.raises(NetlinkError, match="EAFNOSUPPORT"):
        in_child(_choose_in_a_sandbox, "netlink")


def test_unnamed_error_is_raised_by_number() -> None:
    assert "errno 3999" in str(NetlinkError.from_errno(3999, "asking"))


@pytest.mark.parametrize(
    ("error", "worth_a_try"),
    [
        (errno.ENOENT, True),
        (errno.EINVAL, True),
        (errno.EOPNOTSUPP, True),
        (errno.EPERM, False),
        (errno.ETIMEDOUT, False),
        (None, False),
    ],
)
def test_unsupported_errnos(error: int | None, worth_a_try: bool) -> None:
    assert is_unsupported(NetlinkError("refused", error)) is worth_a_try


@pytest.mark.parametrize("timeout", [0.25, 1, 5.0, 61.5])
def test_timeout_is_set_on_the_socket(timeout: float) -> None:
    given: list[float] = []

    class Recording(SockDiagClient):
        def _open(self) -> socket.socket:
            channel = super()._open()
            value = channel.getsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, 16)
            seconds, microseconds = struct.unpack("@ll", value)
            given.append(seconds + microseconds / 1e6)
            return channel

    answer_to(dump_request_compat(1), Recording(timeout))
    # The kernel counts in ticks, of 10 ms at most.
    assert given == [pytest.approx(timeout, abs=0.01)]
