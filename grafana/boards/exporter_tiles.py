"""The figures on top of the board about exporters."""

from __future__ import annotations

from exporter.metrics import catalog

from .. import rules
from ..colours import CRITICAL, WARNING, WELL, at_threshold, steps
from ..figures import stat, value_mapping
from ..panels import RATIO, SECONDS, SHORT, Json
from ..queries import exporters, number_of, of, recorded


def exporter_tiles() -> tuple[tuple[int, Json], ...]:
    """What is wrong with any exporter."""
    down = f"({exporters('up')}) == 0"
    failed = f"{of(catalog.SOCKET_SCRAPE_COLLECTOR_SUCCESS)} == 0"
    refused = f"{of(catalog.SOCKET_EXPORTER_CONFIG_LAST_RELOAD_SUCCESSFUL)} == 0"
    slowest = f"max({exporters('scrape_duration_seconds')})"
    loaded = f"count({rules.threshold_series('close_wait_age_seconds')}) or vector(0)"
    folded = f"max({of(catalog.SOCKET_EXPORTER_AGGREGATED_LABEL_VALUES)})"
    return (
        (3, stat("Up", "Exporters that answer.", f"sum({exporters('up')})", SHORT)),
        (
            3,
            stat(
                "Down",
                "Exporters that Prometheus cannot scrape.",
                number_of(down),
                SHORT,
                thresholds=steps((1, CRITICAL)),
                alerts=["SocketExporterDown"],
            ),
        ),
        (
            3,
            stat(
                "Parts failing",
                "Collectors of any exporter that fail: what they tell is absent or unknown.",
                number_of(failed),
                SHORT,
                thresholds=steps((1, WARNING)),
                alerts=["SocketExporterCollectorFailing"],
            ),
        ),
        (
            3,
            stat(
                "Slowest scrape",
                "As Prometheus measures it. Beyond scrape_timeout everything is lost.",
                slowest,
                SECONDS,
                thresholds=at_threshold("scrape_duration_seconds"),
                alerts=["SocketExporterScrapeSlow"],
            ),
        ),
        (
            3,
            stat(
                "Owners unreadable",
                "Sockets, TIME_WAIT left out, that are held by processes which the exporter may not look "
                "into; the "
                "worst host.",
                f"max({recorded('instance:socket_exporter_owners_unreadable:ratio')})",
                RATIO,
                thresholds=at_threshold("owners_unreadable_ratio"),
                none="unknown",
                decimals=0,
                alerts=["SocketExporterOwnersUnreadable"],
            ),
        ),
        (
            3,
            stat(
                "Folded",
                "Values of one label in one family that are hidden in `other`; the worst.",
                folded,
                SHORT,
                thresholds=at_threshold("folded_series"),
                alerts=["SocketExporterSeriesFolded"],
            ),
        ),
        (
            3,
            stat(
                "Configuration refused",
                "Exporters that could not use their configuration file when they last read it.",
                number_of(refused),
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
                "recording.yml, half of all panels stay empty.",
                loaded,
                SHORT,
                thresholds=steps((1, WELL), base=CRITICAL),
                mappings=value_mapping(_0=("not loaded", CRITICAL), _1=("loaded", WELL)),
                alerts=["SocketAlertThresholdsMissing"],
            ),
        ),
    )
