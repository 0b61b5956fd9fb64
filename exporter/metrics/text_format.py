"""Writes families in either of Prometheus' text formats, by prometheus_client's encoders.

They take 10 us for each sample, a quarter of all that a scrape of a small host takes, nearly all of it for
names and labels. These are the same in scrape after scrape: what was written of them is taken again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple

from prometheus_client import Metric, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample
from prometheus_client.utils import floatToGoString

OPEN_METRICS_VERSION: Final = "1.0.0"

_as_text: Callable[[float], str] = floatToGoString
_generate_open_metrics: Callable[..., bytes] = openmetrics.generate_latest
_END: Final = b"# EOF\n"

# Of these families each sample is a line, in their order; of others, some are put together at the end.
_IN_LINES: Final = frozenset({"gauge", "counter"})
_ZERO: Final = _as_text(0)

_Key = tuple[str, ...]
"""The name and the label values of a sample: what tells it apart in its family."""


class _One(Collector):
    """A family in the shape that the encoders take."""

    def __init__(self, family: Metric) -> None:
        self._family = family

    def collect(self) -> Iterable[Metric]:
        return [self._family]


class _Written(NamedTuple):
    head: str
    """HELP and TYPE."""
    beginnings: dict[_Key, str]
    """The line of each sample, up to its value."""


class Encoder:
    """Remembers how it has written each sample but for its value. Not for concurrent use.

    Samples may have neither timestamps nor exemplars. open_metrics: OpenMetrics 1.0.0; else the text format
    0.0.4.
    """

    def __init__(self, *, open_metrics: bool) -> None:
        self._open_metrics = open_metrics
        self._written: dict[str, _Written] = {}

    def encode(self, families: Iterable[Metric]) -> bytes:
        """The families as text, in their order."""
        text = "".join(map(self._text, families)).encode()
        return text + _END if self._open_metrics else text

    def _text(self, family: Metric) -> str:
        if family.type not in _IN_LINES:
            return self._encoded(family)
        keys = [(sample.name, *sample.labels.values()) for sample in family.samples]
        written = self._known(family, keys)
        self._written[family.name] = written
        values = (_as_text(sample.value) for sample in family.samples)
        lines = map("{}{}\n".format, written.beginnings.values(), values)
        return "".join([written.head, *lines])

    def _known(self, family: Metric, keys: Sequence[_Key]) -> _Written:
        """How the family is written, with these samples and no others."""
        before = self._written.get(family.name)
        head, beginnings = before or ("", {})
        new = [place for place, key in enumerate(keys) if key not in beginnings]
        if new or before is None:
            head, lines = self._new(family, [family.samples[place] for place in new])
            beginnings = beginnings | dict(zip(map(keys.__getitem__, new), lines, strict=True))
        return _Written(head, {key: beginnings[key] for key in keys})

    def _new(self, family: Metric, samples: Sequence[Sample]) -> tuple[str, list[str]]:
        """The head, and the beginnings of these samples' lines."""
        some = Metric(family.name, family.documentation, family.type, family.unit)
        some.samples = [sample._replace(value=0) for sample in samples]
        lines = self._encoded(some).split("\n")[:-1]
        end = len(lines) - len(samples)
        head = "".join(f"{line}\n" for line in lines[:end])
        return head, [line.removesuffix(_ZERO) for line in lines[end:]]

    def _encoded(self, family: Metric) -> str:
        if self._open_metrics:
            whole = _generate_open_metrics(_One(family), version=OPEN_METRICS_VERSION).removesuffix(_END)
        else:
            whole = generate_latest(_One(family))
        return whole.decode()
