"""Connections in CLOSE_WAIT have the group that they were counted in, or are classified again."""

from __future__ import annotations

import pytest

from exporter.model.close_wait import Cause, ClassifiedCloseWait
from exporter.model.groups import Direction, SocketGroup
from exporter.model.process import ProcessId
from exporter.model.sockets import CLOSE_WAIT, ESTABLISHED, CloseWaitSocket, Socket
from exporter.tracking.classifier import Classifier
from exporter.tracking.close_wait_tracker import classify_close_wait
from exporter.tracking.destinations import DestinationOwners
from exporter.tracking.listeners import ListenerTable

OWNER = ProcessId(5, 1.0)
HOME = bytes((127, 0, 0, 1))
HALF = CloseWaitSocket(Socket(CLOSE_WAIT, HOME, 40_000, HOME, 443, 7, 1), 1, 0, 0, 30.0, 40.0, mptcp=False)
CLASSIFIED = SocketGroup(CLOSE_WAIT, OWNER, Direction.OUTBOUND, 443)
COUNTED = CLASSIFIED._replace(port=8443)
EARLIER = COUNTED._replace(state=ESTABLISHED)


@pytest.mark.parametrize(
    ("previous", "counted", "group"),
    [
        (COUNTED, True, COUNTED),
        (COUNTED, False, CLASSIFIED),
        (EARLIER, True, CLASSIFIED),
        (None, True, CLASSIFIED),
    ],
)
def test_previous_group_is_kept_if_counted_in_this_collection(
    previous: SocketGroup | None, counted: bool, group: SocketGroup
) -> None:
    classify = Classifier(ListenerTable(), DestinationOwners(), {7: OWNER}.__getitem__, None)
    (row,) = classify_close_wait([(HALF, 30.5)], [previous], classify, counted=counted)
    assert row == ClassifiedCloseWait(HALF, row.group, Cause.NOT_READ, 30.5)
    assert row.group[:4] == group[:4]
