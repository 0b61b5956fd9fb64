"""Whether the configuration in use is the one in the file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from prometheus_client.core import Metric

from .. import metrics


class Reloaded(NamedTuple):
    """How the last reading of the configuration went. `at`: when the one in use was read, Unix seconds."""

    successful: bool
    at: float


def families(last: Reloaded) -> Iterator[Metric]:
    """Of the configuration file."""
    yield metrics.RELOAD_SUCCESSFUL.family([((), int(last.successful))])
    yield metrics.RELOAD_TIMESTAMP.family([((), last.at)])
