"""What is remembered of each socket, by kind."""

from __future__ import annotations

from collections import Counter

from exporter.analysis.memory import Memory
from exporter.model import CLOSE_WAIT, ESTABLISHED, LAST_ACK, SYN_RECV, TIME_WAIT, Kind, entries_at_most

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


def test_what_was_taken_out_can_be_forgotten_for_good() -> None:
    memory = remembering(open={1: 10, 2: 20})
    memory.forget({10})
    memory.forget_past()
    assert memory.last([1, 2]) == [None, 20]
    assert memory.numbers() == {20}


def test_a_kind_is_replaced_and_the_others_are_not() -> None:
    memory = remembering(open={1: 10, 2: 20}, ended={3: 30})
    memory.replace(OPEN, {2: 20})
    assert memory.last([1, 2, 3]) == [None, 20, 30]


class TestMostCrowded:
    """Too many of a kind are remembered when some are to be forgotten lest its table grows."""

    def test_none_where_nothing_is_remembered(self) -> None:
        assert Memory().most_crowded({OPEN: 1}) is None

    def test_none_as_long_as_few_are_gone(self) -> None:
        memory = remembering(open=dict.fromkeys(range(entries_at_most(16_000)), 1))
        assert memory.most_crowded({OPEN: 16_000}) is None
        memory.of(OPEN)[-1] = 1
        assert memory.most_crowded({OPEN: 16_000}) == OPEN

    def test_that_of_which_there_are_most_too_many(self) -> None:
        memory = remembering(open=dict.fromkeys(range(30_000), 1), ended=dict.fromkeys(range(20_000), 1))
        assert memory.most_crowded({OPEN: 16_000, ENDED: 4_000}) == ENDED
        assert memory.most_crowded({OPEN: 14_000, ENDED: 8_000}) == OPEN

    def test_a_kind_that_is_there_no_more(self) -> None:
        memory = remembering(open=dict.fromkeys(range(2_000), 1))
        assert memory.most_crowded(Counter()) == OPEN


def test_numbers_are_replaced_everywhere() -> None:
    memory = remembering(open={1: 10, 2: 20}, ended={3: 30})
    memory.forget({10})
    memory.renumber({10: 0, 20: 1, 30: 2})
    assert memory.last([1, 2, 3]) == [0, 1, 2]
    assert memory.numbers() == {0, 1, 2}


def test_it_is_as_long_as_what_is_remembered() -> None:
    assert len(remembering(open={1: 10, 2: 20}, ended={3: 30})) == 3


def test_every_state_has_its_place_in_the_course_of_a_connection() -> None:
    memory = Memory()
    for state in range(1, 12):
        memory.of(Kind(state))[7] = state
    assert memory.last([7]) == [TIME_WAIT]
    memory = Memory()
    memory.of(OPEN)[7] = 1
    memory.of(Kind(SYN_RECV, held=False))[7] = 2
    assert memory.last([7]) == [1]
