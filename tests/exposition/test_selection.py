"""Requests that want only some of the families."""

from __future__ import annotations

import pytest
from prometheus_client.core import Metric

from exporter.exposition import metrics
from exporter.exposition.collector import SocketCollector
from exporter.exposition.selection import FAMILIES, narrowed
from exporter.model.collectors import COLLECTOR_HELP, CollectorName

from .seen import ALL, SEEN

EXPORTERS_OWN = {g.name for g in metrics.TABLE if g.name.startswith(("socket_exporter", "socket_scrape"))} - {
    metrics.UNOWNED.name
}


def collected(*parts: str) -> list[Metric]:
    return list(SocketCollector(lambda: SEEN, ALL, "netlink", frozenset(parts or COLLECTOR_HELP)).collect())


@pytest.mark.parametrize("part", sorted(COLLECTOR_HELP.keys() - {CollectorName.OWNERS}))
def test_a_part_has_the_families_that_it_gives(part: str) -> None:
    """What is listed here and what the collector does when only this part is switched on, are the same."""
    switched_on = (
        (CollectorName.EPHEMERAL, CollectorName.EPHEMERAL_ADDRESSES)
        if part == CollectorName.EPHEMERAL_ADDRESSES
        else (part,)
    )
    given = {family.name for family in collected(*switched_on)} - EXPORTERS_OWN
    listed = {gauge.name for each in switched_on for gauge in FAMILIES[each]}
    assert given == listed


def test_every_family_belongs_to_a_part_or_is_the_exporters_own() -> None:
    listed = [gauge.name for gauges in FAMILIES.values() for gauge in gauges]
    assert len(listed) == len(set(listed))
    assert set(listed) | EXPORTERS_OWN == {gauge.name for gauge in metrics.TABLE}
    assert FAMILIES.keys() == COLLECTOR_HELP.keys() - {CollectorName.OWNERS}


def test_the_families_of_other_parts_are_left_out() -> None:
    families = {family.name: family for family in narrowed(collected(), frozenset({CollectorName.LIMITS}))}
    assert families.keys() - EXPORTERS_OWN == {gauge.name for gauge in FAMILIES[CollectorName.LIMITS]}
    rows = families[metrics.COLLECTOR_SUCCESS.name].samples
    assert {row.labels["collector"] for row in rows} <= {CollectorName.LIMITS, CollectorName.OWNERS}
    assert families[metrics.FOLDED.name].samples == []
    assert families[metrics.BUILD_INFO.name].samples


def test_the_figures_are_the_same_and_what_is_shared_stays_whole() -> None:
    everything = collected()
    before = {family.name: list(family.samples) for family in everything}
    chosen = list(narrowed(everything, frozenset({CollectorName.STATES, CollectorName.LISTENERS})))
    for family in chosen:
        assert all(sample in before[family.name] for sample in family.samples)
    assert before == {family.name: family.samples for family in everything}
