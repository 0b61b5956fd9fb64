"""Whatever stands before the ages, they are found; whatever bytes come, they are refused or read."""

from __future__ import annotations

import struct
from itertools import pairwise
from typing import Final

from hypothesis import given
from hypothesis import strategies as st

from exporter.model.sockets import CLOSE_WAIT
from exporter.netlink.close_wait_dump import parse_mptcp, parse_tcp
from exporter.netlink.transport import NetlinkError

from .close_wait_messages import (
    CGROUP,
    INFO,
    MARK,
    NESTED,
    SHUTDOWN,
    ULP,
    attribute,
    half,
    mptcp_info,
    tcp,
    tcp_info,
)
from .messages import DUMPS, GETSOCK, done, message

LOOKALIKE: Final = struct.pack("=HH", 284, INFO)
PAYLOADS = st.sampled_from([b"", b"\0", bytes(4), LOOKALIKE, attribute(INFO, bytes(60)), bytes(40)])
BEFORE = st.lists(st.tuples(st.sampled_from([MARK, SHUTDOWN, CGROUP, ULP | NESTED]), PAYLOADS), max_size=4)
MILLISECONDS = st.integers(0, 2**32 - 1)
AGED = st.tuples(BEFORE, MILLISECONDS, MILLISECONDS, st.sampled_from([None, 60, 192, 280]))


@given(st.lists(AGED, max_size=12), st.integers(1, 4))
def test_times_are_found_after_any_attributes(
    sockets: list[tuple[list[tuple[int, bytes]], int, int, int | None]], repeated: int
) -> None:
    """Also if it equals an earlier prefix, or looks like the attribute itself."""
    messages: list[bytes] = []
    expected: dict[int, tuple[float | None, float | None]] = {}
    for number, (before, seconds_since_data, seconds_since_ack, size) in enumerate(sockets * repeated):
        if size is None:
            messages.append(half(None, before, cookie=number))
            expected[number] = None, None
        else:
            messages.append(
                half(tcp_info(seconds_since_data, seconds_since_ack, size), before, cookie=number)
            )
            expected[number] = seconds_since_ack / 1000, seconds_since_data / 1000
    found = {one.socket.cookie: (one.seconds_since_ack, one.seconds_since_data) for one in tcp(*messages)}
    assert found == expected


REAL = [one.read_bytes() for one in DUMPS]
BUILT = [
    b"".join(half(info, cookie=number) for number, info in enumerate(infos)) + done()
    for infos in ([tcp_info(4, 4)] * 5, [mptcp_info(5, 4), mptcp_info(3, 2, size=84), None])
]


@st.composite
def mutated(draw: st.DrawFn) -> list[bytes]:
    """Part of a dump with bytes changed, cut into batches at any message or anywhere."""
    data = bytearray(draw(st.sampled_from([*REAL, *BUILT, *BUILT]))[: draw(st.integers(60, 3000))])
    for _ in range(draw(st.integers(0, 8))):
        at = draw(st.integers(0, len(data) - 1))
        data[at : at + draw(st.integers(0, 3))] = draw(st.binary(max_size=4))
    cuts = sorted({0, *draw(st.lists(st.integers(0, len(data)), max_size=2)), len(data)})
    pieces = [bytes(data[start:end]) for start, end in pairwise(cuts)]
    return [*pieces, done()] if draw(st.booleans()) else pieces


@st.composite
def garbled_attributes(draw: st.DrawFn) -> list[bytes]:
    """Good heads with anything behind them, among good messages."""
    anything = st.binary(max_size=120).map(
        lambda raw: message(GETSOCK, half()[16:] + raw + bytes(-len(raw) % 4))
    )
    usual = [half(tcp_info(1, 2)), half(mptcp_info(1, 2)), half(tcp_info(1, 2), [])]
    pieces = draw(st.lists(anything | st.sampled_from(usual), max_size=8))
    return [b"".join(pieces) + done()]


@given(mutated() | garbled_attributes() | st.lists(st.binary(min_size=1, max_size=200), max_size=4))
def test_malformed_data_raise_netlink_error_only(messages: list[bytes]) -> None:
    for parse in (parse_tcp, parse_mptcp):
        try:
            found = list(parse(messages))
        except NetlinkError as failure:
            assert str(failure).startswith("sock_diag: ")  # noqa: PT017  # both ways out are good
            continue
        for one in found:
            assert one.socket.state == CLOSE_WAIT
            assert {len(one.socket.local_address), len(one.socket.remote_address)} <= {4, 16}
            assert all(
                age is None or 0 <= age <= 2**32 / 1000
                for age in (one.seconds_since_ack, one.seconds_since_data)
            )
