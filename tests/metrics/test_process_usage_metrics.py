"""Metrics of the exporter's own process where prometheus_client has none."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest

from exporter.metrics.process_usage_metrics import ProcessUsageCollector
from exporter.model.process import ProcessUsage

USAGE = ProcessUsage(1.5, 2_000_000, 3_000_000, 1_700_000_000.25, 42)


def names_and_values(collector: object) -> dict[str, float]:
    registry = CollectorRegistry()
    registry.register(collector)  # type: ignore[arg-type]  # either of two classes
    return {sample.name: sample.value for family in registry.collect() for sample in family.samples}


def test_metrics_have_the_names_of_prometheus_client() -> None:
    values = names_and_values(ProcessUsageCollector(lambda: USAGE))
    assert values == {
        "process_cpu_seconds_total": 1.5,
        "process_virtual_memory_bytes": 3_000_000,
        "process_resident_memory_bytes": 2_000_000,
        "process_start_time_seconds": 1_700_000_000.25,
        "process_open_fds": 42,
    }
    assert values.keys() <= names_and_values(ProcessCollector(registry=None)).keys()


def test_failure_leaves_the_metrics_out_and_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> ProcessUsage:
        raise OSError("refused")

    registry = CollectorRegistry()
    registry.register(ProcessUsageCollector(fail))
    assert generate_latest(registry) == b""
    assert generate_latest(registry) == b""
    assert len(caplog.records) == 1
