"""Metrics of ephemeral ports: usage per destination and per local address, and the limits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from prometheus_client.core import Metric

from ..model.address import format_address
from ..model.ephemeral_ports import ports_by_destination, unavailable_ports
from ..model.snapshot import Snapshot
from . import catalog
from .series_limiter import SeriesLimiter

MAX_DESTINATION_SERIES: Final = 10
"""Maximum number of destinations with a series of their own."""


def build_ephemeral_ports(snapshot: Snapshot, _limiter: SeriesLimiter) -> Iterator[Metric]:
    """Build the metrics of ephemeral ports; none if the range is unknown."""
    ephemeral = snapshot.limits.ephemeral if snapshot.limits else None
    if snapshot.groups is None or ephemeral is None:
        return
    # The one with the most ports in use first.
    destinations = ports_by_destination(snapshot.groups)
    yield catalog.SOCKET_EPHEMERAL_PORTS_USED.build(
        ((format_address(address), str(port)), used)
        for address, port, used in destinations[:MAX_DESTINATION_SERIES]
    )
    yield catalog.SOCKET_EPHEMERAL_PORTS_USED_MAX.build([((), destinations[0].used if destinations else 0)])
    if snapshot.max_bound_ports is not None:
        yield catalog.SOCKET_EPHEMERAL_PORTS_BOUND.build([((), snapshot.max_bound_ports)])
    yield catalog.SOCKET_EPHEMERAL_PORTS_BOUND_LIMIT.build([((), ephemeral.size)])
    if snapshot.listeners is not None:
        listeners = (listener for listener, _ in snapshot.listeners)
        unavailable = unavailable_ports(snapshot.groups, listeners, ephemeral.contains)
        yield catalog.SOCKET_EPHEMERAL_PORTS_LIMIT.build([((), ephemeral.size - unavailable)])
