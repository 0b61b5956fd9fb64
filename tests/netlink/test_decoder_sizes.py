"""Batches are sorted by the size of their messages, and what is garbled is refused."""

from __future__ import annotations

import errno
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.model.sockets import TIME_WAIT
from exporter.netlink.decoder import SizeSorter
from exporter.netlink.transport import NetlinkError

from .messages import BY_FAMILY, DUMPS, ERROR, GETSOCK, SHORTEST, done, message, refusal, row, sizes, split

Outcome = tuple[dict[int, bytes], bool] | str

LENGTHS = st.integers(SHORTEST // 4, 60).map(lambda words: words * 4)
SHORT = row(TIME_WAIT, 1, 0, size=96)
LONG = row(size=124)


@st.composite
def any_row(draw: st.DrawFn, lengths: st.SearchStrategy[int] = LENGTHS) -> bytes:
    """A message as the kernel heads them, with anything at all behind the head."""
    size = draw(lengths)
    body = draw(st.binary(min_size=size - 16, max_size=size - 16))
    return message(draw(st.sampled_from((GETSOCK, BY_FAMILY))), body)


@st.composite
def row_of_few_sizes(draw: st.DrawFn) -> bytes:
    """Few sizes, so that they alternate; and content that itself looks like the heads of messages."""
    size = draw(st.sampled_from((88, 96, 124, 132)))
    looks_like = struct.pack("=IHH", draw(st.sampled_from((20, 88, 96, 124, 132))), GETSOCK, 2)
    return row(draw(st.integers(1, 11)), draw(st.integers(0, 2**64 - 1)), size=size, filler=looks_like)


ROWS = st.lists(any_row() | row_of_few_sizes(), min_size=1, max_size=40)


def by_size(messages: list[bytes]) -> dict[int, bytes]:
    """Return the result expected of split(), made the plain way."""
    runs: dict[int, bytes] = {}
    for one in messages:
        runs[len(one)] = runs.get(len(one), b"") + one
    return runs


def trained(*messages: bytes) -> SizeSorter:
    """One that has met the sizes of all these messages."""
    runs = SizeSorter()
    for one in messages:
        runs.group_by_size(one)
    return runs


def outcome(runs: SizeSorter, data: bytes) -> Outcome:
    try:
        return runs.group_by_size(data)
    except NetlinkError as failure:
        return str(failure)


@given(ROWS)
def test_messages_are_grouped_by_size_in_order(messages: list[bytes]) -> None:
    assert SizeSorter().group_by_size(b"".join(messages)) == (by_size(messages), False)


@given(ROWS, st.lists(any_row() | row_of_few_sizes(), max_size=10))
def test_known_and_unknown_sizes_give_equal_groups(messages: list[bytes], met_before: list[bytes]) -> None:
    runs = trained(*met_before, *messages)
    assert runs.group_by_size(b"".join(messages)) == (by_size(messages), False)


@given(ROWS, st.data())
def test_known_and_unknown_sizes_give_equal_errors(messages: list[bytes], data: st.DataObject) -> None:
    batch = bytearray(b"".join(messages))
    for _ in range(data.draw(st.integers(1, 4))):
        batch[data.draw(st.integers(0, len(batch) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(1, len(batch)))
    garbled = bytes(batch[:cut])
    assert outcome(trained(*messages), garbled) == outcome(SizeSorter(), garbled)


@pytest.mark.parametrize("ending", [done(), done(0, bytes(8)), refusal(0)], ids=["done", "extended", "ack"])
@pytest.mark.parametrize("known", [False, True], ids=["unknown sizes", "known sizes"])
def test_end_of_dump_may_follow_sockets(ending: bytes, known: bool) -> None:
    runs = trained(SHORT, LONG) if known else SizeSorter()
    assert runs.group_by_size(SHORT + LONG + SHORT + ending) == ({96: SHORT + SHORT, 124: LONG}, True)
    assert runs.group_by_size(ending) == ({}, True)


@pytest.mark.parametrize("known", [False, True], ids=["unknown sizes", "known sizes"])
@pytest.mark.parametrize("error", [errno.EINVAL, errno.EPERM, errno.ENOENT, errno.ENOMEM])
def test_error_message_is_raised_with_its_errno(error: int, known: bool) -> None:
    runs = trained(SHORT, LONG) if known else SizeSorter()
    endings = [done(-error), done(-error, bytes(76)), refusal(error, b""), refusal(error)]
    assert {len(refusal(error)), len(done(-error, bytes(76)))} == {len(SHORT)}
    for ending in endings:
        for data in (ending, SHORT + ending, LONG + ending + SHORT):
            with pytest.raises(NetlinkError, match=errno.errorcode[error]) as raised:
                runs.group_by_size(data)
            assert raised.value.errno == error


@pytest.mark.parametrize("code", [-(2**31), -4096, 1, 2**31 - 1])
def test_malformed_error_number_raises(code: int) -> None:
    with pytest.raises(NetlinkError):
        SizeSorter().group_by_size(done(code))


@pytest.mark.parametrize("known", [False, True], ids=["unknown sizes", "known sizes"])
@pytest.mark.parametrize("kind", [0, 1, 4, 16, 19, 21, GETSOCK << 8, BY_FAMILY << 8, GETSOCK | 0x100])
def test_message_of_another_type_raises(kind: int, known: bool) -> None:
    runs = trained(SHORT, LONG) if known else SizeSorter()
    with pytest.raises(NetlinkError, match="malformed") as raised:
        runs.group_by_size(SHORT + message(kind, bytes(80)) + LONG)
    assert raised.value.errno is None


def garble(size: int) -> bytes:
    """A message that claims to be this long."""
    return struct.pack("=I", size) + LONG[4:]


@pytest.mark.parametrize("known", [False, True], ids=["unknown sizes", "known sizes"])
@pytest.mark.parametrize("size", [0, 1, 4, 15, 16, 17, 84, 125, 126, 127, 65536, 2**31, 2**32 - 1])
def test_malformed_length_raises(size: int, known: bool) -> None:
    runs = trained(SHORT, LONG) if known else SizeSorter()
    for data in (garble(size), SHORT + garble(size)):
        with pytest.raises(NetlinkError):
            runs.group_by_size(data)


@pytest.mark.parametrize("payload", [b"", bytes(3), bytes(4)], ids=len)
@pytest.mark.parametrize("kind", [3, ERROR], ids=["done", "error"])
def test_end_without_errno_raises(kind: int, payload: bytes) -> None:
    if len(payload) == 4:
        assert SizeSorter().group_by_size(message(kind, payload)) == ({}, True)
    else:
        with pytest.raises(NetlinkError, match="truncated"):
            SizeSorter().group_by_size(message(kind, payload))


@pytest.mark.parametrize("known", [False, True], ids=["unknown sizes", "known sizes"])
@pytest.mark.parametrize("dump", DUMPS, ids=lambda path: path.stem)
def test_truncation_raises_or_leaves_whole_messages(dump: Path, known: bool) -> None:
    real = dump.read_bytes()[:4000]
    boundaries = {start for start, _ in sizes(dump.read_bytes())}
    runs = trained(*split(dump.read_bytes())[:-1]) if known else SizeSorter()
    for length in range(1, len(real)):
        if length in boundaries:
            assert runs.group_by_size(real[:length]) == (by_size(split(real[:length])), False)
        else:
            with pytest.raises(NetlinkError, match="truncated"):
                runs.group_by_size(real[:length])


def test_malformed_data_do_not_affect_later_groups() -> None:
    runs = SizeSorter()
    for bad in (SHORT + garble(2**32 - 1), LONG + refusal(errno.EPERM)):
        with pytest.raises(NetlinkError):
            runs.group_by_size(bad)
    assert runs.group_by_size(LONG + SHORT) == ({124: LONG, 96: SHORT}, False)
    assert runs.group_by_size(SHORT + LONG) == ({124: LONG, 96: SHORT}, False)
