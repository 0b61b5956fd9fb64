"""Sockets in CLOSE_WAIT: requests to kernels of every kind, and what is made of their answers."""

from __future__ import annotations

import errno
import random
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from exporter.model.sockets import CLOSE_WAIT, ESTABLISHED, LAST_ACK, CloseWaitSocket, Socket
from exporter.netlink.close_wait_dump import CloseWaitReader, merge_mptcp, parse_tcp
from exporter.netlink.transport import NetlinkError, SockDiagClient

from ..systems import needs_linux
from .close_wait_messages import HERE, NESTED, ULP, USUAL, V4, V6, half, mptcp, mptcp_info, tcp, tcp_info
from .messages import BY_FAMILY, DUMPS, GETSOCK, LOOPBACK, done, message, split

TCP, MPTCP = 6, 262


class Kernel(SockDiagClient):
    """A kernel that answers with messages, or an error number, by protocol and family (None: both)."""

    def __init__(self, answers: dict[tuple[int, int | None], list[bytes] | int]) -> None:
        super().__init__()
        self.answers = answers
        self.asked: list[tuple[int, int | None]] = []

    def dump(self, request: bytes, **_: bool) -> Iterator[bytes]:
        size, kind, flags = struct.unpack_from("=IHH", request)
        assert (size, flags) == (len(request), 0x301)
        question = self._older(request) if kind == GETSOCK else self._newer(request)
        self.asked.append(question)
        answer = self.answers.get(question, [])
        yield b"" if isinstance(answer, int) else b"".join(answer)
        yield done(-answer if isinstance(answer, int) else 0)

    def _older(self, request: bytes) -> tuple[int, int | None]:
        family, _, _, extensions, states, databases = struct.unpack_from("=BBBB48xII", request, 16)
        assert (len(request), family, extensions, states, databases) == (76, 0, 2, 1 << CLOSE_WAIT, 0)
        return TCP, None

    def _newer(self, request: bytes) -> tuple[int, int | None]:
        kind, family, protocol, extensions, states = struct.unpack_from("=4xH10xBBBxI", request)
        assert (kind, extensions, states) == (BY_FAMILY, 2, 1 << CLOSE_WAIT)
        if protocol == TCP:
            assert len(request) == 72
            return TCP, family
        assert (protocol, struct.unpack_from("=HHI", request, 72)) == (0, (8, 3, MPTCP))
        return MPTCP, family


BOTH: Final = (TCP, None)
TCP_EACH: Final = [(TCP, V4), (TCP, V6)]
MPTCP_EACH: Final = [(MPTCP, V4), (MPTCP, V6)]
REFUSALS: Final = [errno.ENOENT, errno.EINVAL, errno.EOPNOTSUPP]


@needs_linux
class TestRequests:
    def test_one_tcp_request_and_one_mptcp_request_per_family(self) -> None:
        kernel = Kernel({BOTH: [half(cookie=1)], (MPTCP, V4): [half(cookie=2, owner_key=5)]})
        assert [one.socket.cookie for one in CloseWaitReader(kernel).read()] == [1, 2]
        assert kernel.asked == [BOTH, *MPTCP_EACH]

    @pytest.mark.parametrize("error", REFUSALS)
    def test_unsupported_compat_request_is_not_repeated(self, error: int) -> None:
        v6 = half(cookie=2, family=V6, local=(bytes(15) + b"\1", 80), remote=(bytes(15) + b"\2", 9))
        kernel = Kernel({BOTH: error, (TCP, V4): [half(cookie=1)], (TCP, V6): [v6]})
        source = CloseWaitReader(kernel)
        for _ in range(2):
            assert [one.socket.cookie for one in source.read()] == [1, 2]
        assert kernel.asked == [BOTH, *TCP_EACH, *MPTCP_EACH, *TCP_EACH, *MPTCP_EACH]

    @pytest.mark.parametrize("error", REFUSALS)
    def test_unsupported_mptcp_request_is_not_repeated(self, error: int) -> None:
        kernel = Kernel({BOTH: [half()], (MPTCP, V4): error})
        source = CloseWaitReader(kernel)
        assert source.read() == source.read()
        assert kernel.asked == [BOTH, (MPTCP, V4), BOTH]

    @pytest.mark.parametrize("question", [BOTH, *MPTCP_EACH])
    def test_other_errors_are_raised_and_not_remembered(self, question: tuple[int, int | None]) -> None:
        kernel = Kernel({question: errno.EPERM})
        source = CloseWaitReader(kernel)
        for _ in range(2):
            with pytest.raises(NetlinkError, match="EPERM"):
                source.read()
        kernel.answers.clear()
        kernel.asked.clear()
        assert source.read() == []
        assert kernel.asked == [BOTH, *MPTCP_EACH]

    def test_error_of_every_request_is_raised(self) -> None:
        with pytest.raises(NetlinkError, match="ENOENT"):
            CloseWaitReader(Kernel(dict.fromkeys([BOTH, *TCP_EACH], errno.ENOENT))).read()


class TestTcp:
    def test_queues_timer_and_times_are_read(self) -> None:
        remote = (bytes((192, 0, 2, 1)), 50000)
        one = half(
            tcp_info(7120, 4004, sent=5008), remote=remote, queues=(101, 12), timer=2, cookie=2**63 + 9
        )
        expected = Socket(CLOSE_WAIT, *HERE, *remote, 4711, 2**63 + 9)
        assert tcp(one) == [CloseWaitSocket(expected, 101, 12, 2, 4.004, 7.12, 5.008, mptcp=False)]

    @pytest.mark.parametrize(
        ("raw", "expected"),
        [
            (bytes(10) + b"\xff\xff" + LOOPBACK, LOOPBACK),
            (bytes(15) + b"\1", bytes(15) + b"\1"),
            (socket.inet_pton(V6, "2001:db8::1"), socket.inet_pton(V6, "2001:db8::1")),
        ],
    )
    def test_mapped_addresses_are_ipv4(self, raw: bytes, expected: bytes) -> None:
        (one,) = tcp(half(family=V6, local=(raw, 80), remote=(raw, 81)))
        assert one.socket[1:5] == (expected, 80, expected, 81)

    @pytest.mark.parametrize("size", [60, 104, 192, 232, 280, 400])
    def test_times_are_read_from_tcp_info_of_every_kernel(self, size: int) -> None:
        (one,) = tcp(half(tcp_info(5000, 1000, size, sent=2000)))
        assert (one.seconds_since_ack, one.seconds_since_data, one.seconds_since_sent) == (1.0, 5.0, 2.0)

    @pytest.mark.parametrize("size", [0, 4, 52, 56])
    def test_short_tcp_info_has_no_times(self, size: int) -> None:
        (one,) = tcp(half(tcp_info(5000, 1000, size)))
        assert (one.seconds_since_ack, one.seconds_since_data, one.seconds_since_sent) == (None, None, None)

    def test_no_times_without_the_attribute(self) -> None:
        for before in (USUAL, [], [(ULP | NESTED, tcp_info(1, 2))]):
            (one,) = tcp(half(None, before))
            assert (one.seconds_since_ack, one.seconds_since_data, one.receive_queue_bytes) == (None, None, 1)

    def test_sockets_in_another_state_are_skipped(self) -> None:
        three = [half(state=state, cookie=state) for state in (LAST_ACK, CLOSE_WAIT, ESTABLISHED)]
        assert [one.socket.cookie for one in tcp(*three)] == [CLOSE_WAIT]

    def test_a_dump_of_several_datagrams_is_read(self) -> None:
        batches = [half(tcp_info(0, age), cookie=age) * 3 for age in (1, 2)]
        found = list(parse_tcp([*batches, done()]))
        assert [one.seconds_since_ack for one in found] == [0.001] * 3 + [0.002] * 3

    def test_missing_end_of_dump_raises(self) -> None:
        with pytest.raises(NetlinkError, match="without NLMSG_DONE"):
            list(parse_tcp([half()]))

    @pytest.mark.parametrize(
        "garbage", [b"\3\0\2\0", b"\0\0\0\0", b"\xff\0\2\0", b"\5\0\2\0", b"\4\0\7\0\1\0\0\0"], ids=bytes.hex
    )
    def test_malformed_attribute_sizes_raise(self, garbage: bytes) -> None:
        fixed = half(None, [])[16:]
        with pytest.raises(NetlinkError, match="attribute"):
            tcp(message(GETSOCK, fixed + garbage))

    def test_truncated_attribute_after_a_known_prefix_raises(self) -> None:
        good = half(tcp_info(1, 2))
        cut = good[16 : len(good) - 100]
        with pytest.raises(NetlinkError, match="attribute"):
            tcp(good, message(GETSOCK, cut))


class TestMptcp:
    def test_times_are_read_from_mptcp_info(self) -> None:
        (one,) = mptcp(half(mptcp_info(7000, 3000, sent=4000, unacknowledged=1234), queues=(932, 0)))
        assert one[1:] == (932, 1234, 0, 3.0, 7.0, 4.0, True, None)

    def test_mptcp_info_before_linux_6_10_has_no_times(self) -> None:
        (one,) = mptcp(half(mptcp_info(7000, 3000, unacknowledged=5, size=84)))
        assert one[1:] == (1, 5, 0, None, None, None, True, None)

    @pytest.mark.parametrize("size", [0, 8, 31])
    def test_short_mptcp_info_is_ignored(self, size: int) -> None:
        (one,) = mptcp(half(mptcp_info(7000, 3000, unacknowledged=5, size=size), queues=(3, 4)))
        assert one[1:] == (3, 4, 0, None, None, None, True, None)

    def test_no_ack_time_after_fallback_to_tcp(self) -> None:
        (one,) = mptcp(half(mptcp_info(7000, 3000, flags=3)))
        assert (one.seconds_since_ack, one.seconds_since_data) == (None, 7.0)

    def test_send_queue_is_never_negative(self) -> None:
        (one,) = mptcp(half(mptcp_info(7000, 3000, unacknowledged=-9)))
        assert one.send_queue_bytes == 0

    def test_fallback_connection_is_one_socket(self) -> None:
        """Linux 6.18 reports this for 100 bytes unread, 50 sent and 30 not yet sent."""
        subflow = tcp(half(tcp_info(9000, 4000, sent=500), cookie=1, queues=(0, 50)))
        fell_back = mptcp(half(mptcp_info(9000, 8000, flags=1, unacknowledged=30), cookie=2, queues=(932, 0)))
        other = mptcp(half(cookie=3, owner_key=9))
        (both, left) = merge_mptcp(subflow, [*fell_back, *other])
        assert both == CloseWaitSocket(subflow[0].socket, 932, 80, 0, 4.0, 9.0, 0.5, mptcp=True)
        assert left == other[0]

    def test_sockets_with_other_inodes_are_not_merged(self) -> None:
        assert len(merge_mptcp(tcp(half(owner_key=1)), mptcp(half(owner_key=2)))) == 2


@pytest.mark.parametrize("dump", DUMPS, ids=lambda path: path.stem)
def test_recorded_dumps_give_their_sockets_in_close_wait(dump: Path) -> None:
    data = dump.read_bytes()
    messages = split(data)[:-1]
    found = list(parse_tcp([data]))
    assert len(found) == sum(one[17] == CLOSE_WAIT for one in messages)
    random.Random(1).shuffle(messages)  # noqa: S311  # no secret
    assert sorted(map(repr, parse_tcp([*messages, done()]))) == sorted(map(repr, found))


def test_recorded_times_are_plausible() -> None:
    """mixed.dump has tcp_info: 6 bytes and a FIN, sent together and unread."""
    found = tcp(*split(Path(DUMPS[0]).with_name("mixed.dump").read_bytes())[:-1])
    assert [one.receive_queue_bytes for one in found] == [7, 7, 7]
    for one in found:
        assert one.seconds_since_ack is not None
        assert one.seconds_since_data is not None
        assert 0 <= one.seconds_since_ack <= one.seconds_since_data < 1
