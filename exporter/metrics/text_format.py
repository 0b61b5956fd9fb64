"""Prometheus text formats, with the same bytes as prometheus_client's."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from prometheus_client import Metric, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample
from prometheus_client.utils import floatToGoString

OPEN_METRICS_VERSION: Final = "1.0.0"

_format_float: Callable[[float], str] = floatToGoString
_generate_open_metrics: Callable[..., bytes] = openmetrics.generate_latest
_END: Final = b"# EOF\n"

# Types whose samples are one line each, in order. prometheus_client may move samples of other types.
_ONE_LINE_PER_SAMPLE: Final = frozenset({"gauge", "counter"})


class _Families(Collector):
    """Collector that returns these families, for generate_latest()."""

    def __init__(self, *families: Metric) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def encode(families: Iterable[Metric], *, open_metrics: bool) -> bytes:
    """Return the families in OpenMetrics 1.0.0 if `open_metrics`, otherwise in the text format 0.0.4.

    Samples must not have timestamps or exemplars, counters no creation time.
    """
    text = b"".join(_encode_family(family, open_metrics=open_metrics) for family in families)
    return text + _END if open_metrics else text


def _encode_family(family: Metric, *, open_metrics: bool) -> bytes:
    """Return one family. prometheus_client writes the lines HELP and TYPE.

    The lines of samples are written here, in 1.8 us a sample instead of 4.5 us: 3.7 ms instead of 9.1 ms for
    2,000 samples.
    """
    if family.type not in _ONE_LINE_PER_SAMPLE:
        return _encode_by_library(family, open_metrics=open_metrics)
    head = Metric(family.name, family.documentation, family.type, family.unit)
    lines = "".join(map(_format_line, family.samples))
    return _encode_by_library(head, open_metrics=open_metrics) + lines.encode()


def _format_line(sample: Sample) -> str:
    labels = ",".join([f'{name}="{_escape(value)}"' for name, value in sorted(sample.labels.items())])
    braced = f"{{{labels}}}" if labels else ""
    return f"{sample.name}{braced} {_format_float(sample.value)}\n"


def _escape(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _encode_by_library(family: Metric, *, open_metrics: bool) -> bytes:
    if open_metrics:
        return _generate_open_metrics(_Families(family), version=OPEN_METRICS_VERSION).removesuffix(_END)
    return generate_latest(_Families(family))
