"""What is written is what prometheus_client's encoders write, whatever was written before."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector

from exporter.exposition import encoder as encoder_module
from exporter.exposition import metrics
from exporter.exposition.encoder import OPEN_METRICS_VERSION, Encoder


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
        metrics.STATES.family([(("established", process, "443"), established)]),
        metrics.CLOSE_WAIT_AGE.histograms([((process,), [("1.0", 1), ("+Inf", 2)], 3.5)]),
        metrics.KERNEL_LISTEN_DROPS.family([((), orphans)]),
        metrics.ORPHANS.family([((), orphans)]),
    ]


SCRAPES = [scrape(1, 2), scrape(1, 2), scrape(1, 3), scrape(4, 3, "\u00e9"), scrape(1, 2)[:2]]


@pytest.mark.parametrize("open_metrics", [False, True])
@pytest.mark.parametrize("remembered", [0, 500])
def test_each_scrape_is_written_as_if_it_were_the_first(
    monkeypatch: pytest.MonkeyPatch, remembered: int, open_metrics: bool
) -> None:
    monkeypatch.setattr(encoder_module, "_REMEMBERED", remembered)
    encoder = Encoder(open_metrics=open_metrics)
    for families in SCRAPES:
        assert encoder.encode(families) == expected(families, open_metrics=open_metrics)


def test_what_has_not_changed_is_not_written_again(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []

    def note(registry: Collector) -> bytes:
        (family,) = registry.collect()
        written.append(family.name)
        return b""

    monkeypatch.setattr(encoder_module, "generate_latest", note)
    encoder = Encoder(open_metrics=False)
    encoder.encode(scrape(1, 2))
    written.clear()
    encoder.encode(scrape(1, 3))
    assert written == ["socket_kernel_listen_drops", "socket_orphans"]
