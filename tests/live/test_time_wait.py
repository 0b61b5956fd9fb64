"""Whose a TIME_WAIT is, on real sockets: the kernel does not say."""

from __future__ import annotations

from collections import Counter
from typing import Final

import pytest

from exporter.model.groups import Attribution
from exporter.model.snapshot import Snapshot
from exporter.model.sockets import TIME_WAIT

from ..tools import require
from .looking import close_first, connect, end, in_another_process, observer, serve, take_name
from .namespace import Namespace

pytestmark = [pytest.mark.live, require("ip", "nft", "ss")]

CALLER: Final = "caller"
UNKNOWN: Final = "unknown"

Found = Counter[tuple[str, int, str]]
"""(process, service port, attribution) -> sockets in TIME_WAIT."""


def found(seen: Snapshot) -> Found:
    counts: Found = Counter()
    for group, count in (seen.groups or {}).items():
        if group.state == TIME_WAIT and group.attribution:
            counts[seen.names.get(group.owner, UNKNOWN), group.port, group.attribution.value] += count
    return counts


def accepted_and_closed() -> Found:
    take_name("printd")
    server = serve(8001)
    for _ in range(4):
        calling, accepted = connect(server)
        close_first(accepted, calling)
    return found(observer().snapshot())


def test_on_the_server_it_is_whose_listener_accepted_it(namespace: Namespace) -> None:
    assert {("printd", 8001, Attribution.LISTENER.value): 4} == namespace.call(accepted_and_closed)


def seen_before_it_closed() -> tuple[Found, Found]:
    take_name(CALLER)
    server, eyes = serve(8002), observer()
    pairs = [connect(server) for _ in range(3)]
    before = found(eyes.snapshot())
    for calling, accepted in pairs:
        close_first(calling, accepted)
    return before, found(eyes.snapshot())


def test_on_the_client_it_is_who_was_seen_with_it(namespace: Namespace) -> None:
    before, after = namespace.call(seen_before_it_closed)
    assert {} == before
    assert {(CALLER, 8002, Attribution.OBSERVED.value): 3} == after


def churned_beside_a_lasting_connection() -> Found:
    take_name(CALLER)
    server = serve(8003)
    lasting = connect(server)
    for _ in range(5):
        close_first(*connect(server))
    counts = found(observer().snapshot())
    assert lasting
    return counts


def test_it_is_inferred_from_the_only_one_who_talks_there(namespace: Namespace) -> None:
    assert {(CALLER, 8003, Attribution.INFERRED.value): 5} == namespace.call(
        churned_beside_a_lasting_connection
    )


def churned_by_one_of_two() -> Found:
    take_name(CALLER)
    server = serve(8004)
    lasting = connect(server)
    other = in_another_process("rival", lambda: connect(server))
    for _ in range(5):
        close_first(*connect(server))
    counts = found(observer().snapshot())
    end(other)
    assert lasting
    return counts


def test_of_two_who_talk_there_neither_is_guessed(namespace: Namespace) -> None:
    assert {(UNKNOWN, 8004, Attribution.NONE.value): 5} == namespace.call(churned_by_one_of_two)


def churned_unseen_until_somebody_talks() -> list[Found]:
    take_name(CALLER)
    server, eyes = serve(8005), observer()
    for _ in range(6):
        close_first(*connect(server))
    counts = [found(eyes.snapshot())]
    lasting = connect(server)
    eyes.snapshot()
    counts.append(found(eyes.snapshot()))
    assert lasting
    return counts


def test_it_stays_unknown_until_somebody_is_seen_talking_there(namespace: Namespace) -> None:
    nobody, somebody = namespace.call(churned_unseen_until_somebody_talks)
    assert {(UNKNOWN, 8005, Attribution.NONE.value): 6} == nobody
    assert {(CALLER, 8005, Attribution.INFERRED.value): 6} == somebody


def talked_and_went() -> Found:
    server, eyes = serve(8006), observer()
    talker = in_another_process(CALLER, lambda: connect(server))
    eyes.snapshot()
    end(talker)
    take_name("somebody")
    for _ in range(2):
        close_first(*connect(server))
    return found(eyes.snapshot())


def test_who_talked_lately_is_still_the_only_one(namespace: Namespace) -> None:
    counts = namespace.call(talked_and_went)
    inferred = {name: count for (name, _, how), count in counts.items() if how == Attribution.INFERRED.value}
    assert inferred == {CALLER: 2}


def overflowed(closes: int) -> tuple[int, int, int | None]:
    server, eyes = serve(8007), observer()
    before = eyes.snapshot()
    for _ in range(closes):
        close_first(*connect(server))
    after = eyes.snapshot()
    assert before.counters
    assert after.counters
    assert after.limits
    grown = (after.counters.time_wait_overflows or 0) - (before.counters.time_wait_overflows or 0)
    return grown, sum(found(after).values()), after.limits.max_time_wait_sockets


def test_what_the_limit_cuts_off_is_counted(namespace: Namespace) -> None:
    namespace.sysctl("net.ipv4.tcp_max_tw_buckets", 15)
    grown, waiting, limit = namespace.call(overflowed, 50)
    assert limit == 15
    assert waiting <= 15
    assert grown == 50 - waiting
