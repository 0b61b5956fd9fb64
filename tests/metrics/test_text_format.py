"""What is written is what prometheus_client's encoders write, whatever was written before."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector

from exporter.metrics import catalog, text_format
from exporter.metrics.text_format import OPEN_METRICS_VERSION, Encoder


class Families(Collector):
    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = list(families)

    def collect(self) -> Iterable[Metric]:
        return self._families


def expected(families: Iterable[Metric], *, open_metrics: bool) -> bytes:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Families(families))
    if open_metrics:
        whole: bytes = openmetrics.generate_latest(registry, version=OPEN_METRICS_VERSION)
        return whole
    return generate_latest(registry)


def scrape(established: int, orphans: int, process: str = 'a "b"') -> list[Metric]:
    return [
        catalog.SOCKET_STATES.build([(("established", process, "443"), established)]),
        catalog.SOCKET_CLOSE_WAIT_AGE_SECONDS.build([((process,), [("1.0", 1), ("+Inf", 2)], 3.5)]),
        catalog.SOCKET_KERNEL_LISTEN_DROPS.build([((), orphans)]),
        catalog.SOCKET_ORPHANS.build([((), orphans)]),
    ]


SCRAPES = [scrape(1, 2), scrape(1, 2), scrape(1, 3), scrape(4, 3, "\u00e9"), scrape(1, 2)[:2]]


@pytest.mark.parametrize("open_metrics", [False, True])
def test_each_scrape_is_written_as_if_it_were_the_first(open_metrics: bool) -> None:
    encoder = Encoder(open_metrics=open_metrics)
    for families in SCRAPES:
        assert encoder.encode(families) == expected(families, open_metrics=open_metrics)


TEXTS = st.sampled_from(["nginx", 'a "b"', "back\\slash", "two\nlines", "0.0", "", "\u2028", "\u00e9"])
VALUES = st.floats() | st.integers(0, 10**12)
SAMPLES = st.dictionaries(st.tuples(TEXTS, TEXTS, TEXTS), VALUES, max_size=5)


@pytest.mark.parametrize("open_metrics", [False, True])
@given(st.lists(SAMPLES, min_size=2, max_size=4))
def test_whatever_labels_and_values_there_are(
    open_metrics: bool, scrapes: list[dict[tuple[str, str, str], float]]
) -> None:
    encoder = Encoder(open_metrics=open_metrics)
    for samples in scrapes:
        families = [catalog.SOCKET_STATES.build(samples.items())]
        assert encoder.encode(families) == expected(families, open_metrics=open_metrics)


def test_names_and_labels_are_written_once(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[tuple[str, ...]] = []

    def note(registry: Collector) -> bytes:
        (family,) = registry.collect()
        written.extend((family.name, *sample.labels.values()) for sample in family.samples)
        return generate_latest(registry)

    monkeypatch.setattr(text_format, "generate_latest", note)
    encoder = Encoder(open_metrics=False)
    for process in ("nginx", "nginx", "redis"):
        encoder.encode([catalog.SOCKET_STATES.build([(("established", process, "443"), len(written))])])
    assert [process for _, _, process, _ in written] == ["nginx", "redis"]
