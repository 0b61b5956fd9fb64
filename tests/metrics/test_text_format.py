"""The text formats are those of prometheus_client, byte for byte."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector

from exporter.metrics import catalog
from exporter.metrics.text_format import encode

from .families import collect


class Families(Collector):
    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = list(families)

    def collect(self) -> Iterable[Metric]:
        return self._families


def expected(families: Iterable[Metric], *, open_metrics: bool) -> bytes:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Families(families))
    if open_metrics:
        whole: bytes = openmetrics.generate_latest(registry, version="1.0.0")
        return whole
    return generate_latest(registry)


TEXTS = (
    st.sampled_from(["nginx", 'a "b"', "back\\slash", "two\nlines", "0.0", "", "\u2028", "\u00e9"])
    | st.text()
)
VALUES = st.floats() | st.integers(0, 10**18)
HELP = st.sampled_from(["Help.", 'With "quotes".', "Back\\slash.", "Two\nlines."])
LABELS = st.tuples(TEXTS, TEXTS, TEXTS)
GAUGES = st.builds(
    lambda samples: catalog.SOCKET_STATES.build(samples.items()),
    st.dictionaries(LABELS, VALUES, max_size=5),
)
COUNTERS = st.builds(lambda value: catalog.SOCKET_KERNEL_LISTEN_DROPS.build([((), value)]), VALUES)
HISTOGRAMS = st.builds(
    lambda process, count, total: catalog.SOCKET_CLOSE_WAIT_AGE_SECONDS.build(
        [((process,), [("1.0", count), ("+Inf", count)], total)]
    ),
    TEXTS,
    st.integers(0, 99),
    st.floats(0, 1e9),
)
FAMILIES = st.lists(GAUGES | COUNTERS | HISTOGRAMS, max_size=4)


def with_help(families: list[Metric], text: str) -> list[Metric]:
    for family in families:
        family.documentation = text
    return families


@pytest.mark.parametrize("open_metrics", [False, True])
@given(st.builds(with_help, FAMILIES, HELP))
def test_any_families(open_metrics: bool, families: list[Metric]) -> None:
    assert encode(families, open_metrics=open_metrics) == expected(families, open_metrics=open_metrics)


@pytest.mark.parametrize("open_metrics", [False, True])
def test_all_metrics(open_metrics: bool) -> None:
    families = list(collect().values())
    assert encode(families, open_metrics=open_metrics) == expected(families, open_metrics=open_metrics)


def test_no_families() -> None:
    assert encode([], open_metrics=False) == b""
    assert encode([], open_metrics=True) == b"# EOF\n"
