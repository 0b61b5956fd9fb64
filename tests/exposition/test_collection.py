"""Collections: one at a time, the first of which may begin before anybody asks."""

from __future__ import annotations

import threading
from collections.abc import Iterable

import pytest
from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily

from exporter.exposition import collection as module
from exporter.exposition.collection import Collection


class Slow:
    """Waits for a word, and tells how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.may_go_on = threading.Event()

    def collect(self) -> Iterable[Metric]:
        self.asked += 1
        assert self.may_go_on.wait(20)
        return [GaugeMetricFamily("asked", "How often.", value=self.asked)]


@pytest.mark.parametrize(("dear", "given"), [(0.0, 1), (1000.0, 2)])
def test_who_asks_while_the_first_goes_on_gets_it_if_it_is_dear(
    monkeypatch: pytest.MonkeyPatch, dear: float, given: int
) -> None:
    monkeypatch.setattr(module, "_DEAR", dear)
    slow = Slow()
    collection = Collection(slow)
    collection.begin()
    first = collection.families()
    slow.may_go_on.set()
    assert [family.samples[0].value for family in first.result(20)] == [given]
    assert [family.samples[0].value for family in collection.families().result(20)] == [given + 1]


def test_what_the_first_found_is_told_to_nobody_later() -> None:
    slow = Slow()
    collection = Collection(slow)
    collection.begin()
    slow.may_go_on.set()
    collection.submit(lambda: None).result(20)
    assert [family.samples[0].value for family in collection.families().result(20)] == [2]


def test_without_a_beginning_each_who_asks_has_one_begun() -> None:
    slow = Slow()
    slow.may_go_on.set()
    collection = Collection(slow)
    for number in (1, 2):
        assert [family.samples[0].value for family in collection.families().result(20)] == [number]
