"""Whether the configuration in use is the one in the file."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import Metric

from ...model.reload import ReloadStatus
from .. import metrics


def families(status: ReloadStatus) -> Iterator[Metric]:
    """Yield the families about the last reload of the configuration."""
    yield metrics.RELOAD_SUCCESSFUL.family([((), int(status.success))])
    yield metrics.RELOAD_TIMESTAMP.family([((), status.timestamp)])
