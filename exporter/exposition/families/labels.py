"""Label values of groups."""

from __future__ import annotations

from ...model.groups import Direction, SocketGroup
from ...model.process import Owner
from ...model.snapshot import Snapshot
from .. import metrics


def process(owner: Owner, seen: Snapshot) -> str:
    """What the owner is called, or `unknown`."""
    return seen.process_name(owner)


def remote_port(group: SocketGroup) -> str:
    """The service called, `inbound`, or `none`."""
    if group.direction is Direction.INBOUND:
        return metrics.INBOUND
    return str(group.port) if group.direction is Direction.OUTBOUND else metrics.NO_PORT
