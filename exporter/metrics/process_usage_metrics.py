"""Metrics `process_*` of the exporter's own process, with the names of the Prometheus client libraries.

`process_open_fds` is the number of handles on Windows, as with client_golang. Windows has no limit of them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ..model.process import ProcessUsage

logger: Final = logging.getLogger(__name__)


class ProcessUsageCollector(Collector):
    """Collector of prometheus_client, in place of its own, which reads /proc."""

    def __init__(self, read: Callable[[], ProcessUsage]) -> None:
        self._read = read
        self._is_failing = False

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics; none if the usage cannot be read."""
        try:
            usage = self._read()
        except OSError as error:
            if not self._is_failing:
                logger.warning("Reading the exporter's own resource usage failed", exc_info=error)
            self._is_failing = True
            return
        self._is_failing = False
        yield CounterMetricFamily(
            "process_cpu_seconds_total", "Total user and system CPU time spent in seconds.", usage.cpu_seconds
        )
        for name, help_text, value in (
            ("process_virtual_memory_bytes", "Virtual memory size in bytes.", usage.virtual_bytes),
            ("process_resident_memory_bytes", "Resident memory size in bytes.", usage.resident_bytes),
            (
                "process_start_time_seconds",
                "Start time of the process since unix epoch in seconds.",
                usage.start_time,
            ),
            ("process_open_fds", "Number of open file descriptors; on Windows of handles.", usage.open_fds),
        ):
            yield GaugeMetricFamily(name, help_text, value)
