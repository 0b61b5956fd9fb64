"""Connections in CLOSE_WAIT: counted as in the look, or else classified anew."""

from __future__ import annotations

import pytest

from exporter.analysis.classify import Classifier
from exporter.analysis.listening import Listeners
from exporter.analysis.time_wait import Talkers
from exporter.exposition.stuck import Stuck, stuck
from exporter.model import CLOSE_WAIT, ESTABLISHED, Direction, Group, HalfClosed, ProcessId, Socket

OWNER = ProcessId(5, 1.0)
HOME = bytes((127, 0, 0, 1))
HALF = HalfClosed(Socket(CLOSE_WAIT, HOME, 40_000, HOME, 443, 7, 1), 1, 0, 0, 30.0, 40.0, mptcp=False)
ANEW = Group(CLOSE_WAIT, OWNER, Direction.OUTBOUND, 443)
COUNTED = ANEW._replace(port=8443)
EARLIER = COUNTED._replace(state=ESTABLISHED)


@pytest.mark.parametrize(
    ("before", "counted", "group"),
    [(COUNTED, True, COUNTED), (COUNTED, False, ANEW), (EARLIER, True, ANEW), (None, True, ANEW)],
)
def test_a_group_stands_only_if_it_was_counted_in_this_look(
    before: Group | None, counted: bool, group: Group
) -> None:
    classify = Classifier(Listeners(), Talkers(), {7: OWNER}.__getitem__, None)
    (one,) = stuck([(HALF, 30.5)], [before], classify, counted=counted)
    assert one == Stuck(HALF, one.group, "not_read", 30.5)
    assert one.group[:4] == group[:4]
