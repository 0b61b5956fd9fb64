"""Writes families in either of Prometheus' text formats, by prometheus_client's encoders.

Most families of a scrape are what they were in the last one: what was written of them is taken again, since
an encoder takes 10 us for each sample, a quarter of all that a scrape of a small host takes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple

from prometheus_client import Metric, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

OPEN_METRICS_VERSION: Final = "1.0.0"

_generate_open_metrics: Callable[..., bytes] = openmetrics.generate_latest
_END: Final = b"# EOF\n"

# Bigger families change with every scrape of the hosts that have them.
_REMEMBERED: Final = 500


class _One(Collector):
    """A family in the shape that the encoders take."""

    def __init__(self, family: Metric) -> None:
        self._family = family

    def collect(self) -> Iterable[Metric]:
        return [self._family]


class _Written(NamedTuple):
    samples: Sequence[Sample]
    text: bytes


class Encoder:
    """Remembers what it has written of each family. Not for concurrent use.

    open_metrics: OpenMetrics 1.0.0; else the text format 0.0.4.
    """

    def __init__(self, *, open_metrics: bool) -> None:
        self._open_metrics = open_metrics
        self._written: dict[str, _Written] = {}

    def encode(self, families: Iterable[Metric]) -> bytes:
        """The families as text, in their order."""
        text = [self._text(family) for family in families]
        return b"".join([*text, _END] if self._open_metrics else text)

    def _text(self, family: Metric) -> bytes:
        written = self._written.get(family.name)
        if written and written.samples == family.samples:
            return written.text
        text = self._encoded(family)
        if len(family.samples) <= _REMEMBERED:
            self._written[family.name] = _Written(family.samples, text)
        return text

    def _encoded(self, family: Metric) -> bytes:
        if self._open_metrics:
            return _generate_open_metrics(_One(family), version=OPEN_METRICS_VERSION).removesuffix(_END)
        return generate_latest(_One(family))
