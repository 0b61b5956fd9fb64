"""Ephemeral ports: the fullest destinations, and the host's limit."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Final

from prometheus_client.core import Metric

from ...model.snapshot import Snapshot
from ...tracking.ephemeral_ports import DestinationPorts, ports_by_destination, unavailable_ports
from .. import metrics

SHOWN: Final = 10
"""So many destinations are named."""


def families(seen: Snapshot, *, with_addresses: bool) -> Iterator[Metric]:
    """Ports used against the range. Where the range is not known, nothing."""
    ephemeral = seen.limits.ephemeral if seen.limits else None
    if seen.groups is None or ephemeral is None:
        return
    fullest = ports_by_destination(seen.groups)
    if with_addresses:
        yield metrics.EPHEMERAL_USED.family((_labels(each), each.used) for each in fullest[:SHOWN])
    yield metrics.EPHEMERAL_USED_MAX.family([((), fullest[0].used if fullest else 0)])
    if seen.ports_on_one_address is not None:
        yield metrics.EPHEMERAL_BOUND.family([((), seen.ports_on_one_address)])
    yield metrics.EPHEMERAL_BOUND_LIMIT.family([((), ephemeral.size)])
    if seen.listeners is not None:
        lost = unavailable_ports(
            seen.groups, (listener for listener, _ in seen.listeners), ephemeral.contains
        )
        yield metrics.EPHEMERAL_LIMIT.family([((), ephemeral.size - lost)])


def _labels(destination: DestinationPorts) -> tuple[str, str]:
    return printable(destination.remote_address), str(destination.remote_port)


def printable(address: bytes) -> str:
    """An address of 4 or 16 bytes as people write it."""
    return socket.inet_ntop(socket.AF_INET if len(address) == 4 else socket.AF_INET6, address)
