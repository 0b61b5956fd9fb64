"""Exporter health: whether the other dashboards can be trusted."""

from __future__ import annotations

from typing import Final

from exporter.metrics import catalog

from .. import rules
from ..colors import CRITICAL, OK, TRANSPARENT, UNKNOWN, WARNING, steps, thresholds_above
from ..dashboard import EXPORTER, dashboard, row
from ..panels import (
    BYTES,
    RATIO,
    SECONDS,
    SHORT,
    SINCE,
    Json,
    color_by_series,
    stat,
    state_timeline,
    timeseries,
    value_mapping,
)
from ..queries import Query, count_or_zero, exporter_jobs, recorded, selector, selector_for_name
from ..tables import Column, table
from .alerts import firing_table
from .shared import TO_HOST

OK_OR_FAILED: Final = value_mapping({"0": ("failed", CRITICAL), "1": ("ok", OK)})

REASONS: Final = {
    "released": "#B0C4DE",
    "unreadable": WARNING,
    "hidden": "semi-dark-orange",
    "not_found": "light-orange",
    "disabled": UNKNOWN,
}
"""Colors of the reasons for an unknown owner: orange where more permissions would help."""


def _stat_row() -> tuple[tuple[int, Json], ...]:
    """Return the stats at the top: problems of any exporter."""
    down = f"({exporter_jobs('up')}) == 0"
    failed = f"{selector(catalog.SOCKET_SCRAPE_COLLECTOR_SUCCESS)} == 0"
    reload_failed = f"{selector(catalog.SOCKET_EXPORTER_CONFIG_LAST_RELOAD_SUCCESSFUL)} == 0"
    slowest = f"max({exporter_jobs('scrape_duration_seconds')})"
    loaded = f"count({rules.threshold_series('close_wait_age_seconds')}) or vector(0)"
    aggregated = f"max({selector(catalog.SOCKET_EXPORTER_AGGREGATED_LABEL_VALUES)})"
    return (
        (3, stat("Up", "Exporters that respond.", f"sum({exporter_jobs('up')})", SHORT)),
        (
            3,
            stat(
                "Down",
                "Exporters that Prometheus cannot scrape.",
                count_or_zero(down),
                SHORT,
                thresholds=steps((1, CRITICAL)),
                alerts=["SocketExporterDown"],
            ),
        ),
        (
            3,
            stat(
                "Collectors failing",
                "Failing collectors of all exporters: their metrics are absent or unknown.",
                count_or_zero(failed),
                SHORT,
                thresholds=steps((1, WARNING)),
                alerts=["SocketExporterCollectorFailing"],
            ),
        ),
        (
            3,
            stat(
                "Slowest scrape",
                "Scrape duration as measured by Prometheus. Beyond scrape_timeout, metrics are missing.",
                slowest,
                SECONDS,
                thresholds=thresholds_above("scrape_duration_seconds"),
                alerts=["SocketExporterScrapeSlow"],
            ),
        ),
        (
            3,
            stat(
                "Owners unreadable",
                "Ratio of sockets, without TIME_WAIT, whose process the exporter is not permitted to read; "
                "the worst host.",
                f"max({recorded('instance:socket_exporter_owners_unreadable:ratio')})",
                RATIO,
                thresholds=thresholds_above("owners_unreadable_ratio"),
                no_value="unknown",
                decimals=0,
                alerts=["SocketExporterOwnersUnreadable"],
            ),
        ),
        (
            3,
            stat(
                "Aggregated",
                "Maximum number of values of one label in one family that are aggregated into `other`.",
                aggregated,
                SHORT,
                thresholds=thresholds_above("aggregated_label_values"),
                alerts=["SocketExporterSeriesAggregated"],
            ),
        ),
        (
            3,
            stat(
                "Reload failed",
                "Exporters whose last configuration reload failed.",
                count_or_zero(reload_failed),
                SHORT,
                thresholds=steps((1, WARNING)),
                alerts=["SocketExporterConfigNotReloaded"],
            ),
        ),
        (
            3,
            stat(
                "Rules",
                "Whether this Prometheus evaluates deploy/prometheus/rules: without thresholds.yml and "
                "recording.yml half of all panels stay empty.",
                loaded,
                SHORT,
                thresholds=steps((1, OK), base=CRITICAL),
                mappings=value_mapping({"0": ("not loaded", CRITICAL), "1": ("loaded", OK)}),
                alerts=["SocketAlertThresholdsMissing"],
            ),
        ),
    )


def _scrape_duration() -> Json:
    return timeseries(
        "Scrape duration by host",
        "Scrape duration as measured by Prometheus.",
        [Query(exporter_jobs("scrape_duration_seconds"), "{{instance}}")],
        SECONDS,
        thresholds="scrape_duration_seconds",
        alerts=["SocketExporterScrapeSlow"],
    )


def _collector_duration() -> Json:
    return timeseries(
        "Collection duration by collector",
        "Mean duration per collector over the selected hosts.",
        [
            Query(
                f"avg by (collector) ({selector(catalog.SOCKET_SCRAPE_COLLECTOR_DURATION_SECONDS)})",
                "{{collector}}",
            )
        ],
        SECONDS,
        stack=True,
        alerts=["SocketExporterScrapeSlow"],
    )


def _collector_success() -> Json:
    return state_timeline(
        "Collector success",
        "Red where a collector failed on at least one host: its metrics are absent or unknown, and alerts "
        "on them cannot fire.",
        Query(f"min by (collector) ({selector(catalog.SOCKET_SCRAPE_COLLECTOR_SUCCESS)})", "{{collector}}"),
        OK_OR_FAILED,
        alerts=["SocketExporterCollectorFailing"],
    )


def _unowned_sockets() -> Json:
    return timeseries(
        "Sockets without owner by reason",
        "released: no process owns them any more (TIME_WAIT, orphans). Orange: owned by a process that the "
        "exporter cannot read or find. disabled: the collector `owners` is disabled.",
        [Query(f"sum by (reason) ({selector(catalog.SOCKET_EXPORTER_UNOWNED_SOCKETS)})", "{{reason}}")],
        SHORT,
        stack=True,
        overrides=color_by_series(REASONS),
        alerts=["SocketExporterOwnersUnreadable"],
    )


def _unreadable_processes() -> Json:
    return timeseries(
        "Unreadable processes by reason",
        "permission: the exporter lacks CAP_SYS_PTRACE or CAP_DAC_READ_SEARCH. vanished: the process exited "
        "during the collection.",
        [Query(f"sum by (reason) ({selector(catalog.SOCKET_EXPORTER_UNREADABLE_PROCESSES)})", "{{reason}}")],
        SHORT,
        overrides=color_by_series({"permission": WARNING, "error": CRITICAL, "vanished": UNKNOWN}),
        alerts=["SocketExporterOwnersUnreadable"],
    )


def _aggregated_values() -> Json:
    labels = {"instance": "Host", "family": "Family", "label": "Label"}
    return table(
        "Aggregated into other",
        "Number of label values, or whole series, aggregated into `other`. Sums are still correct.",
        labels,
        [
            Column(
                "Aggregated",
                f"max by (job, {', '.join(labels)}) "
                f"({selector(catalog.SOCKET_EXPORTER_AGGREGATED_LABEL_VALUES)})",
                SHORT,
                thresholds_above("aggregated_label_values", TRANSPARENT),
            )
        ],
        data_links={"Host": (TO_HOST,)},
        alerts=["SocketExporterSeriesAggregated"],
    )


def _exporters_table() -> Json:
    labels = {"instance": "Host", "version": "Version", "source": "Source", "python": "Python"}
    key = f"job, {', '.join(labels)}"
    build_info = f"max by ({key}) ({selector(catalog.SOCKET_EXPORTER_BUILD_INFO)})"

    def join_build_info(expression: str) -> str:
        return f"max by (job, instance) ({expression}) * on (job, instance) group_right () {build_info}"

    reloaded_ms = f"{selector(catalog.SOCKET_EXPORTER_CONFIG_LAST_RELOAD_SUCCESS_TIMESTAMP_SECONDS)} * 1000"
    return table(
        "Exporters",
        "Version, socket source and configuration of each exporter.",
        labels,
        [
            Column(
                "Up",
                join_build_info(exporter_jobs("up")),
                SHORT,
                steps((1, TRANSPARENT), base=CRITICAL),
                mappings=tuple(OK_OR_FAILED),
            ),
            Column(
                "Last scrape",
                join_build_info(exporter_jobs("scrape_duration_seconds")),
                SECONDS,
                thresholds_above("scrape_duration_seconds", TRANSPARENT),
            ),
            Column("Samples", join_build_info(exporter_jobs("scrape_samples_scraped"))),
            Column(
                "Last reload",
                join_build_info(selector(catalog.SOCKET_EXPORTER_CONFIG_LAST_RELOAD_SUCCESSFUL)),
                SHORT,
                steps((1, TRANSPARENT), base=WARNING),
                mappings=tuple(value_mapping({"0": ("failed", WARNING), "1": ("ok", OK)})),
            ),
            Column("Configuration loaded", join_build_info(reloaded_ms), SINCE),
        ],
        data_links={"Host": (TO_HOST,)},
        sort="Host",
        ascending=True,
        alerts=["SocketExporterConfigNotReloaded", "SocketExporterDown"],
    )


def _process_metric(title: str, description: str, expression: str, unit: str) -> Json:
    return timeseries(title, description, [Query(expression, "{{instance}}")], unit)


def exporter_dashboard() -> Json:
    """Return the dashboard `Exporter health`."""
    is_exporter = f"and on (job, instance) {selector(catalog.SOCKET_EXPORTER_BUILD_INFO)}"
    cpu = f"rate({selector_for_name('process_cpu_seconds_total')}[$__rate_interval]) {is_exporter}"
    memory = f"{selector_for_name('process_resident_memory_bytes')} {is_exporter}"
    return dashboard(
        EXPORTER,
        "Exporter health",
        "Whether the other dashboards can be trusted: failures, missing permissions, and the cost of the "
        "exporter.",
        [
            row(4, *_stat_row()),
            row(8, (12, _scrape_duration()), (12, _collector_duration())),
            row(
                9,
                (12, _collector_success()),
                (12, firing_table('alertname=~"SocketExporter.*|SocketAlert.*"')),
            ),
            row(8, (8, _unowned_sockets()), (8, _unreadable_processes()), (8, _aggregated_values())),
            row(8, (24, _exporters_table())),
            row(
                8,
                (
                    12,
                    _process_metric(
                        "CPU usage of the exporter",
                        "CPU cores. Not available with --web.disable-exporter-metrics.",
                        cpu,
                        RATIO,
                    ),
                ),
                (12, _process_metric("Memory usage of the exporter", "Resident memory.", memory, BYTES)),
            ),
        ],
    )
