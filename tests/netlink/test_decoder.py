"""Recorded dumps are read as `ss` reads them, however the kernel cut them into batches."""

from __future__ import annotations

import random
import socket
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest

from exporter.model.sockets import ESTABLISHED, LISTEN, STATE_NAMES, TIME_WAIT, KeySpace, Listener, Socket
from exporter.netlink import decoder, inet_diag
from exporter.netlink.transport import NetlinkError

from ..oracle import Row, oracle
from ..tools import require
from .messages import DUMPS, LOOPBACK, done, parsed, row, split

each_dump = pytest.mark.parametrize("dump", DUMPS, ids=lambda path: path.stem)
against_ss = [require("ss"), pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")]

V6 = socket.AF_INET6
MAPPED = bytes(10) + b"\xff\xff" + LOOPBACK
GLOBAL = socket.inet_pton(V6, "2001:db8::1")


def as_ss(sockets: Iterable[Socket]) -> Counter[tuple[object, ...]]:
    return Counter((STATE_NAMES[one.state], *one[1:5]) for one in sockets)


def regrouped(messages: Sequence[bytes], longest: int) -> list[bytes]:
    """The messages in batches of 1 to `longest`."""
    chance = random.Random(longest)  # noqa: S311  # no secret
    batches, start = [], 0
    while start < len(messages):
        end = start + chance.randint(1, longest)
        batches.append(b"".join(messages[start:end]))
        start = end
    return batches


def test_recorded_dumps_exist() -> None:
    assert len(DUMPS) >= 5


class TestAgainstSs:
    pytestmark = against_ss

    @each_dump
    def test_sockets_equal_those_of_ss(self, dump: Path) -> None:
        assert as_ss(parsed(dump.read_bytes())) == Counter(one[:5] for one in oracle(dump))

    @each_dump
    def test_accept_queues_equal_those_of_ss(self, dump: Path) -> None:
        messages = [one for one in split(dump.read_bytes())[:-1] if one[17] == LISTEN]
        read = decoder.decode_listeners([*messages, done()])
        expected: list[Row] = [one for one in oracle(dump) if one.state == "listen"]
        assert Counter((one[0], one[1], *one[3:]) for one in read) == Counter(
            (*one[1:3], one.receive_queue_bytes, one.send_queue_bytes) for one in expected
        )
        assert all(one.owner_key for one in read)


@each_dump
@pytest.mark.parametrize("longest", [1, 2, 7, 50])
def test_datagram_boundaries_do_not_matter(dump: Path, longest: int) -> None:
    data = dump.read_bytes()
    assert Counter(parsed(*regrouped(split(data), longest))) == Counter(parsed(data))


@each_dump
def test_rows_are_readable_repeatedly_in_any_order(dump: Path) -> None:
    for batch in decoder.decode_sockets([dump.read_bytes()]):
        count = len(batch.keys)
        everything = batch.select(range(count))
        assert list(everything) == list(everything)
        assert len(list(everything)) == count
        assert list(batch.select(range(count)[::-1])) == list(everything)[::-1]
        assert list(batch.select([])) == []


@each_dump
def test_batches_have_the_owner_keys_of_all_sockets(dump: Path) -> None:
    at_rows: list[int] = []
    at_batches: list[int] = []
    for batch in decoder.decode_sockets([dump.read_bytes()]):
        messages = batch.select(range(len(batch.keys)))
        owner_keys = [one.owner_key for one in messages]
        assert list(messages.owner_keys()) == owner_keys
        at_rows += owner_keys
        at_batches += memoryview(batch.owner_key_column).cast("I").tolist()
    assert sorted(filter(None, at_batches)) == sorted(filter(None, at_rows))


def test_no_owner_keys_without_owners() -> None:
    (batch,) = decoder.decode_sockets([row(TIME_WAIT, 1, 0, size=96) + done()])
    assert batch.owner_key_column == b""


def test_time_wait_of_equal_message_size_hides_no_owner_key() -> None:
    """No known kernel does that, but none promises not to."""
    mixture = [row(TIME_WAIT, 1, 0, size=96), row(ESTABLISHED, 2, 777, size=96)]
    batches = decoder.decode_sockets([b"".join(mixture) + done()])
    owner_keys = {batch.keyspace: memoryview(batch.owner_key_column).cast("I").tolist() for batch in batches}
    assert owner_keys == {KeySpace(ESTABLISHED, owned=True): [0, 777], KeySpace(TIME_WAIT, owned=False): []}


@pytest.mark.parametrize(
    ("family", "raw", "expected"),
    [
        (socket.AF_INET, LOOPBACK + b"garbage", LOOPBACK),
        (V6, MAPPED, LOOPBACK),
        (V6, GLOBAL, GLOBAL),
        (V6, bytes(16), bytes(16)),
        (V6, bytes(12) + LOOPBACK, bytes(12) + LOOPBACK),
    ],
)
def test_only_ipv4_mapped_addresses_are_unmapped(family: int, raw: bytes, expected: bytes) -> None:
    assert inet_diag.read_address(family, raw.ljust(16, b"\0")) == expected


@pytest.mark.parametrize("port", [1, 255, 256, 8080, 32768, 65535])
def test_ports_are_big_endian(port: int) -> None:
    (one,) = parsed(row(local=(LOOPBACK, port), remote=(LOOPBACK, 65536 - port)) + done())
    assert (one.local_port, one.remote_port) == (port, 65536 - port)


@pytest.mark.parametrize("cookie", [1, 0xFFFFFFFF, 0x100000000, 0xFFFFFFFFFFFFFFFF])
@pytest.mark.parametrize("state", [ESTABLISHED, TIME_WAIT])
def test_a_cookie_has_64_bits(cookie: int, state: int) -> None:
    others = [row(state, number) for number in (2, 3)]
    (batch,) = decoder.decode_sockets([b"".join([*others, row(state, cookie)]) + done()])
    assert [one.cookie for one in batch.select([0, 1, 2])] == [2, 3, cookie]
    assert list(batch.keys) == [2, 3, cookie]


def test_listener_has_length_and_limit_of_its_queue() -> None:
    both = [
        row(LISTEN, 1, 5, local=(LOOPBACK, 80), remote=(b"", 0), queues=(3, 2)),
        row(LISTEN, 2, 6, local=(bytes(16), 443), remote=(b"", 0), queues=(0, 4096), family=V6, size=132),
    ]
    assert set(decoder.decode_listeners([both[0], both[1] + done()])) == {
        Listener(LOOPBACK, 80, 5, 3, 2),
        Listener(bytes(16), 443, 6, 0, 4096),
    }


@pytest.mark.parametrize("messages", [[], [row()], [row(), row(TIME_WAIT, 2, 0, size=96)]])
def test_missing_end_of_dump_raises(messages: list[bytes]) -> None:
    with pytest.raises(NetlinkError, match="without NLMSG_DONE"):
        parsed(*messages)
    with pytest.raises(NetlinkError, match="without NLMSG_DONE"):
        decoder.decode_listeners(messages)


def test_data_after_the_end_are_not_read() -> None:
    def answer() -> Iterable[bytes]:
        yield row() + done()
        raise AssertionError("asked for more")

    assert len(parsed(*[row() + done(), b"nonsense"])) == 1
    assert len(list(decoder.decode_sockets(answer()))) == 1
