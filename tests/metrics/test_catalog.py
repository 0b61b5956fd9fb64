"""The metric catalog, and the selection of metrics by collector."""

from __future__ import annotations

import re

import pytest
from prometheus_client.core import Metric

from exporter.metrics import catalog
from exporter.metrics.collector import SocketCollector
from exporter.metrics.spec import MetricSpec
from exporter.model.collectors import CollectorName

from ..snapshots import BUSY
from .families import ALL, names_of

OF_THE_EXPORTER = {spec.name for spec in catalog.METRICS if spec.collector is None}


def collected(*collectors: CollectorName) -> list[Metric]:
    enabled = frozenset(collectors or CollectorName)
    return list(SocketCollector(lambda: BUSY, ALL, "netlink", enabled).collect())


def test_every_spec_of_the_module_is_listed_once_in_order() -> None:
    declared = [value for value in vars(catalog).values() if isinstance(value, MetricSpec)]
    assert declared == list(catalog.METRICS)
    assert len({spec.name for spec in catalog.METRICS}) == len(catalog.METRICS)


def test_constant_is_the_name_of_its_metric_in_upper_case() -> None:
    for constant, spec in vars(catalog).items():
        if isinstance(spec, MetricSpec):
            assert constant == spec.name.upper()


@pytest.mark.parametrize("spec", catalog.METRICS, ids=lambda spec: spec.name)
def test_names_and_help_texts_follow_the_conventions(spec: MetricSpec) -> None:
    assert re.fullmatch(r"socket_[a-z_]+(?<!_count)(?<!_total)", spec.name)
    assert re.match(r"[A-Z]|tcp_", spec.help)
    assert spec.help.endswith(".")
    assert spec.help.count(". ") <= 1, "at most two sentences"


def test_every_collector_but_owners_has_metrics() -> None:
    collectors = {spec.collector for spec in catalog.METRICS} - {None}
    assert collectors == set(CollectorName) - {CollectorName.OWNERS}


@pytest.mark.parametrize("collector", sorted(set(CollectorName) - {CollectorName.OWNERS}))
def test_enabled_collector_exports_its_metrics(collector: CollectorName) -> None:
    enabled = {collector}
    if collector is CollectorName.EPHEMERAL_ADDRESSES:
        enabled.add(CollectorName.EPHEMERAL)
    exported = {family.name for family in collected(*enabled)}
    assert exported == names_of(*enabled) | OF_THE_EXPORTER


def test_filter_leaves_out_the_metrics_of_other_collectors() -> None:
    chosen = frozenset({CollectorName.LIMITS})
    families = {family.name: family for family in catalog.filter_by_collector(collected(), chosen)}
    assert families.keys() == names_of(CollectorName.LIMITS) | OF_THE_EXPORTER
    success = families["socket_scrape_collector_success"].samples
    assert {sample.labels["collector"] for sample in success} == {"limits", "owners"}
    assert families["socket_exporter_aggregated_label_values"].samples == []
    assert families["socket_exporter_build_info"].samples


def test_filter_changes_neither_values_nor_its_argument() -> None:
    everything = collected()
    expected = {family.name: list(family.samples) for family in everything}
    chosen = frozenset({CollectorName.STATES, CollectorName.LISTENERS})
    for family in catalog.filter_by_collector(everything, chosen):
        assert all(sample in expected[family.name] for sample in family.samples)
    assert expected == {family.name: family.samples for family in everything}
