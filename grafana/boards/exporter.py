"""Exporter health: whether what the other boards show can be trusted."""

from __future__ import annotations

from typing import Final

from exporter.metrics import catalog

from ..board import EXPORTER, board, row
from ..colours import CRITICAL, NOBODY, QUIET, WARNING, WELL, at_threshold, steps
from ..figures import state_timeline, value_mapping
from ..panels import BYTES, RATIO, SECONDS, SHORT, SINCE, Json, by_name, timeseries
from ..queries import Query, exporters, named, of
from ..tables import Column, table
from .alerts import firing_table
from .exporter_tiles import exporter_tiles
from .parts import TO_HOST

OK_OR_FAILED: Final = value_mapping(_0=("failed", CRITICAL), _1=("ok", WELL))

REASONS: Final = {
    "released": "#B0C4DE",
    "unreadable": WARNING,
    "hidden": "semi-dark-orange",
    "not_found": "light-orange",
    "disabled": NOBODY,
}
"""Colours of why the owner of a socket is unknown: orange where more rights would help."""


def _scrapes() -> Json:
    return timeseries(
        "Scrape, by host",
        "Seconds, as Prometheus measures it.",
        [Query(exporters("scrape_duration_seconds"), "{{instance}}")],
        SECONDS,
        levels="scrape_duration_seconds",
        alerts=["SocketExporterScrapeSlow"],
    )


def _collectors() -> Json:
    return timeseries(
        "Scrape, by collector",
        "Seconds that each part takes; the mean of the hosts chosen.",
        [
            Query(
                f"avg by (collector) ({of(catalog.SOCKET_SCRAPE_COLLECTOR_DURATION_SECONDS)})",
                "{{collector}}",
            )
        ],
        SECONDS,
        stack=True,
        alerts=["SocketExporterScrapeSlow"],
    )


def _success() -> Json:
    return state_timeline(
        "Collectors",
        "Red where a part of some exporter failed: what it tells is absent or unknown, and alerts on it are "
        "silent.",
        Query(f"min by (collector) ({of(catalog.SOCKET_SCRAPE_COLLECTOR_SUCCESS)})", "{{collector}}"),
        OK_OR_FAILED,
        alerts=["SocketExporterCollectorFailing"],
    )


def _unowned() -> Json:
    return timeseries(
        "Sockets without owner, by reason",
        "released: nobody holds them any more, TIME_WAIT and orphans. Orange: held, but the exporter may not "
        "see "
        "by whom. disabled: it was not asked to look.",
        [Query(f"sum by (reason) ({of(catalog.SOCKET_EXPORTER_UNOWNED_SOCKETS)})", "{{reason}}")],
        SHORT,
        stack=True,
        overrides=by_name(REASONS),
        alerts=["SocketExporterOwnersUnreadable"],
    )


def _unreadable() -> Json:
    return timeseries(
        "Processes that could not be looked into, by reason",
        "permission: it lacks CAP_SYS_PTRACE or CAP_DAC_READ_SEARCH. vanished: they ended meanwhile.",
        [Query(f"sum by (reason) ({of(catalog.SOCKET_EXPORTER_UNREADABLE_PROCESSES)})", "{{reason}}")],
        SHORT,
        overrides=by_name({"permission": WARNING, "error": CRITICAL, "vanished": NOBODY}),
        alerts=["SocketExporterOwnersUnreadable"],
    )


def _folded() -> Json:
    labels = {"instance": "Host", "family": "Family", "label": "Label"}
    return table(
        "Folded into other",
        "How many values of a label, or whole series, are hidden there. Sums are right all the same.",
        labels,
        [
            Column(
                "Hidden",
                f"max by (job, {', '.join(labels)}) ({of(catalog.SOCKET_EXPORTER_AGGREGATED_LABEL_VALUES)})",
                SHORT,
                at_threshold("folded_series", QUIET),
            )
        ],
        links={"Host": (TO_HOST,)},
        alerts=["SocketExporterSeriesFolded"],
    )


def _versions() -> Json:
    labels = {"instance": "Host", "version": "Version", "source": "Source", "python": "Python"}
    key = f"job, {', '.join(labels)}"
    there = f"max by ({key}) ({of(catalog.SOCKET_EXPORTER_BUILD_INFO)})"

    def of_host(expression: str) -> str:
        return f"max by (job, instance) ({expression}) * on (job, instance) group_right () {there}"

    when = f"{of(catalog.SOCKET_EXPORTER_CONFIG_LAST_RELOAD_SUCCESS_TIMESTAMP_SECONDS)} * 1000"
    return table(
        "Exporters",
        "What runs where, what it reads sockets from, and since when its configuration file is in use.",
        labels,
        [
            Column(
                "Answers",
                of_host(exporters("up")),
                SHORT,
                steps((1, QUIET), base=CRITICAL),
                mappings=tuple(OK_OR_FAILED),
            ),
            Column(
                "Last scrape",
                of_host(exporters("scrape_duration_seconds")),
                SECONDS,
                at_threshold("scrape_duration_seconds", QUIET),
            ),
            Column("Samples", of_host(exporters("scrape_samples_scraped"))),
            Column(
                "Configuration",
                of_host(of(catalog.SOCKET_EXPORTER_CONFIG_LAST_RELOAD_SUCCESSFUL)),
                SHORT,
                steps((1, QUIET), base=WARNING),
                mappings=tuple(value_mapping(_0=("refused", WARNING), _1=("ok", WELL))),
            ),
            Column("In use since", of_host(when), SINCE),
        ],
        links={"Host": (TO_HOST,)},
        sort="Host",
        ascending=True,
        alerts=["SocketExporterConfigNotReloaded", "SocketExporterDown"],
    )


def _own(title: str, description: str, expression: str, unit: str) -> Json:
    return timeseries(title, description, [Query(expression, "{{instance}}")], unit)


def exporter() -> Json:
    """The board."""
    there = f"and on (job, instance) {of(catalog.SOCKET_EXPORTER_BUILD_INFO)}"
    spent = f"rate({named('process_cpu_seconds_total')}[$__rate_interval]) {there}"
    held = f"{named('process_resident_memory_bytes')} {there}"
    return board(
        EXPORTER,
        "Exporter health",
        "Whether what the other boards show can be trusted: what fails, what cannot be seen, what it costs.",
        [
            row(4, *exporter_tiles()),
            row(8, (12, _scrapes()), (12, _collectors())),
            row(9, (12, _success()), (12, firing_table('alertname=~"SocketExporter.*|SocketAlert.*"'))),
            row(8, (8, _unowned()), (8, _unreadable()), (8, _folded())),
            row(8, (24, _versions())),
            row(
                8,
                (
                    12,
                    _own(
                        "CPU of the exporter",
                        "Cores. With --web.disable-exporter-metrics there is none.",
                        spent,
                        RATIO,
                    ),
                ),
                (12, _own("Memory of the exporter", "Resident.", held, BYTES)),
            ),
        ],
    )
