"""The contract of Key: equal exactly when nothing that is reported about the socket has changed."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.model.sockets import (
    CLOSE_WAIT,
    ESTABLISHED,
    FIN_WAIT2,
    NO_OWNER_KEY,
    STATE_NAMES,
    SYN_RECV,
    TIME_WAIT,
    KeySpace,
)
from exporter.model.sockets import LISTEN as LISTENING
from exporter.netlink import decoder

from .messages import DUMPS, done, row


class Situation(NamedTuple):
    """All that is reported about a socket, its addresses apart, which are its cookie's."""

    state: int
    cookie: int
    owner_key: int


# A socket has one inode for life. It is without one before accept() and after close().
COOKIES = st.sampled_from((1, 2, 3, 2**32 + 1, 2**32 + 2, 2**64 - 1))
SHORT_STATES = st.sampled_from((TIME_WAIT, SYN_RECV, FIN_WAIT2))
FULL_STATES = st.sampled_from(sorted(set(STATE_NAMES) - {TIME_WAIT, SYN_RECV, LISTENING}))


@st.composite
def full(draw: st.DrawFn) -> Situation:
    cookie = draw(COOKIES)
    owner_key = cookie % 1000 + 7 if draw(st.booleans()) else NO_OWNER_KEY
    return Situation(draw(FULL_STATES), cookie, owner_key)


READINGS = st.lists(
    full() | st.builds(Situation, SHORT_STATES, COOKIES, st.just(NO_OWNER_KEY)), unique=True, max_size=12
)


def message_of(situation: Situation, *, sort: bool) -> bytes:
    """Return a message as the kernel writes it: minisocks take fewer bytes."""
    short = situation.state in (TIME_WAIT, SYN_RECV) or (
        situation.state == FIN_WAIT2 and situation.owner_key == NO_OWNER_KEY
    )
    return row(*situation, size=96 if short else 124 if sort else 124 + 8 * (situation.cookie % 2))


def keys(situations: list[Situation], *, sort: bool = True) -> dict[Situation, Hashable]:
    """Return key space and key of each socket in a dump of these."""
    data = b"".join(message_of(one, sort=sort) for one in situations) + done()
    found: dict[Situation, Hashable] = {}
    for batch in decoder.decode_sockets([data]):
        for key, one in zip(batch.keys, batch.select(range(len(batch.keys))), strict=True):
            situation = Situation(one.state, one.cookie, one.owner_key)
            found[situation] = (batch.keyspace, key)
    return found


@given(READINGS, READINGS)
def test_keys_are_equal_if_state_cookie_and_owner_are(
    earlier: list[Situation], later: list[Situation]
) -> None:
    before, after = keys(earlier), keys(later)
    assert set(before) == set(earlier)
    assert set(after) == set(later)
    for one, key in before.items():
        for other, its_key in after.items():
            assert (key == its_key) == (one == other)


@given(READINGS)
def test_message_size_is_not_part_of_the_key(situations: list[Situation]) -> None:
    assert keys(situations) == keys(situations, sort=False)


def test_the_key_is_the_cookie() -> None:
    """That is what makes a warm scrape one pass in C."""
    held = [row(ESTABLISHED, cookie, 1000 + cookie) for cookie in range(1, 6)]
    ending = [row(TIME_WAIT, cookie, 0, size=96) for cookie in range(11, 16)]
    given = decoder.decode_sockets([b"".join(held + ending) + done()])
    assert {batch.keyspace: list(batch.keys) for batch in given} == {
        KeySpace(ESTABLISHED, owned=True): [1, 2, 3, 4, 5],
        KeySpace(TIME_WAIT, owned=False): [11, 12, 13, 14, 15],
    }


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        ((ESTABLISHED, 9, 0), (ESTABLISHED, 9, 55)),
        ((ESTABLISHED, 9, 55), (CLOSE_WAIT, 9, 55)),
        ((CLOSE_WAIT, 9, 0), (CLOSE_WAIT, 9, 55)),
        ((ESTABLISHED, 9, 55), (ESTABLISHED, 9 + 2**32, 55)),
        ((FIN_WAIT2, 9, 0), (TIME_WAIT, 9, 0)),
        ((ESTABLISHED, 9, 55), (TIME_WAIT, 9, 0)),
        ((SYN_RECV, 9, 0), (ESTABLISHED, 9, 0)),
    ],
)
def test_a_change_of_state_or_owner_changes_the_key(
    earlier: tuple[int, int, int], later: tuple[int, int, int]
) -> None:
    (before,) = keys([Situation(*earlier)]).values()
    (after,) = keys([Situation(*later)]).values()
    assert before != after


@pytest.mark.parametrize("dump", DUMPS, ids=lambda path: path.stem)
def test_keys_are_unique_within_a_dump(dump: Path) -> None:
    found: list[Hashable] = []
    for batch in decoder.decode_sockets([dump.read_bytes()]):
        found += [(batch.keyspace, key) for key in batch.keys]
    assert len(set(found)) == len(found)


@pytest.mark.parametrize("dump", DUMPS, ids=lambda path: path.stem)
def test_keys_of_the_same_dump_are_equal(dump: Path) -> None:
    first, second = (_keys(dump) for _ in range(2))
    assert first == second


def _keys(dump: Path) -> list[tuple[KeySpace, list[Hashable]]]:
    return [(batch.keyspace, list(batch.keys)) for batch in decoder.decode_sockets([dump.read_bytes()])]
