"""What is remembered of each socket, by kind."""

from __future__ import annotations

from exporter.analysis.memory import Memory
from exporter.model import CLOSE_WAIT, ESTABLISHED, LAST_ACK, SYN_RECV, TIME_WAIT, Kind

OPEN, WAITING = Kind(ESTABLISHED), Kind(ESTABLISHED, held=False)
HALF_CLOSED, ENDING = Kind(CLOSE_WAIT), Kind(LAST_ACK, held=False)
ENDED = Kind(TIME_WAIT, held=False)


def remembering(**numbers: dict[int, int]) -> Memory:
    memory = Memory()
    kinds = {"open": OPEN, "waiting": WAITING, "half_closed": HALF_CLOSED, "ending": ENDING, "ended": ENDED}
    for kind, known in numbers.items():
        memory.of(kinds[kind]).update(known)
    return memory


def test_the_latest_of_a_connections_situations_counts_whatever_was_remembered_first() -> None:
    memory = remembering(ended={1: 10}, half_closed={1: 11, 2: 12}, waiting={2: 13, 3: 14}, open={3: 15})
    assert memory.last([1, 2, 3, 4]) == [10, 12, 15, None]


def test_what_is_forgotten_is_not_known_but_has_been() -> None:
    memory = remembering(open={1: 10, 2: 20}, half_closed={3: 10})
    memory.forget({10})
    assert memory.of(OPEN) == {2: 20}
    assert memory.of(HALF_CLOSED) == {}
    assert memory.last([1, 2, 3]) == [10, 20, 10]
    memory.of(OPEN)[1] = 30
    assert memory.last([1]) == [30]


def test_time_wait_is_forgotten_only_by_name() -> None:
    memory = remembering(ended={1: 10, 2: 20}, open={3: 10})
    memory.forget({10})
    assert memory.of(ENDED) == {1: 10, 2: 20}
    memory.forget_time_wait({10})
    assert memory.of(ENDED) == {2: 20}
    assert memory.last([1]) == [None]


def test_what_was_forgotten_is_inherited_by_those_that_are_still_there() -> None:
    before = remembering(open={1: 10, 2: 10})
    before.forget({10})
    fresh = remembering(half_closed={1: 20})
    fresh.inherit(before)
    assert fresh.last([1, 2]) == [20, None]
    assert fresh.numbers() == {10, 20}


def test_numbers_are_replaced_everywhere() -> None:
    memory = remembering(open={1: 10, 2: 20}, ended={3: 30})
    memory.forget({10})
    memory.renumber({10: 0, 20: 1, 30: 2})
    assert memory.last([1, 2, 3]) == [0, 1, 2]
    assert memory.numbers() == {0, 1, 2}


def test_two_parts_of_a_reading_are_joined() -> None:
    memory = remembering(open={1: 10})
    memory.join(remembering(open={2: 20}, ended={3: 30}))
    assert memory.last([1, 2, 3]) == [10, 20, 30]
    assert len(memory) == 3


def test_every_state_has_its_place_in_the_course_of_a_connection() -> None:
    memory = Memory()
    for state in range(1, 12):
        memory.of(Kind(state))[7] = state
    assert memory.last([7]) == [TIME_WAIT]
    memory = Memory()
    memory.of(OPEN)[7] = 1
    memory.of(Kind(SYN_RECV, held=False))[7] = 2
    assert memory.last([7]) == [1]
