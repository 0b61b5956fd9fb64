"""Whatever bytes come, they are refused as nonsense or read: nothing else escapes, nothing hangs."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import example, given
from hypothesis import strategies as st

from exporter.model.sockets import Listener, Socket
from exporter.netlink import decoder
from exporter.netlink.transport import NetlinkError

from .messages import DUMPS, done, parsed, row, split

REAL = [one.read_bytes() for one in DUMPS]
MESSAGES = [one for data in REAL for one in split(data)]


@st.composite
def mutated(draw: st.DrawFn) -> list[bytes]:
    """Part of a real dump with bytes changed, cut into batches anywhere."""
    data = bytearray(draw(st.sampled_from(REAL))[: draw(st.integers(20, 2000))])
    for _ in range(draw(st.integers(0, 6))):
        at = draw(st.integers(0, len(data) - 1))
        data[at : at + draw(st.integers(0, 3))] = draw(st.binary(max_size=4))
    cuts = sorted({0, *draw(st.lists(st.integers(0, len(data)), max_size=3)), len(data)})
    pieces = [bytes(data[start:end]) for start, end in pairwise(cuts)]
    return [*pieces, done()] if draw(st.booleans()) else pieces


@st.composite
def shuffled(draw: st.DrawFn) -> list[bytes]:
    """Real messages in any order, with nonsense between."""
    pieces = draw(st.lists(st.sampled_from(MESSAGES) | st.binary(max_size=200), max_size=12))
    return [b"".join(pieces), done()] if draw(st.booleans()) else [*pieces, done()]


def check(messages: list[bytes]) -> None:
    try:
        sockets = parsed(*messages)
        listeners = decoder.decode_listeners(messages)
    except NetlinkError:
        return
    assert len(sockets) == len(listeners) <= sum(map(len, messages)) // 88
    for one in sockets:
        assert isinstance(one, Socket)
        assert len(one.local_address) in (4, 16)
        assert len(one.remote_address) in (4, 16)
        assert 0 <= one.local_port < 65536 > one.remote_port >= 0
    assert all(isinstance(one, Listener) for one in listeners)


@given(st.lists(st.binary(min_size=1, max_size=400), max_size=5))
@example([b""])
@example([done(-(2**31))])
def test_random_bytes(messages: list[bytes]) -> None:
    check(messages)


@given(st.lists(st.binary(max_size=130).map(lambda tail: row()[:20] + tail), max_size=5))
def test_random_bytes_behind_a_good_head(messages: list[bytes]) -> None:
    check([b"".join(messages) or done(), done()])


@given(mutated())
def test_mutated_dumps(messages: list[bytes]) -> None:
    check(messages)


@given(shuffled())
def test_shuffled_messages(messages: list[bytes]) -> None:
    check(messages)
