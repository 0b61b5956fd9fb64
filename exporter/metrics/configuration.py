"""Result of the last configuration reload."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import Metric

from ..model.reload import ReloadStatus
from . import catalog


def build(status: ReloadStatus) -> Iterator[Metric]:
    """Build the metrics of the configuration."""
    yield catalog.SOCKET_EXPORTER_CONFIG_LAST_RELOAD_SUCCESSFUL.build([((), int(status.success))])
    yield catalog.SOCKET_EXPORTER_CONFIG_LAST_RELOAD_SUCCESS_TIMESTAMP_SECONDS.build([((), status.timestamp)])
