"""Panels about ephemeral ports by destination."""

from __future__ import annotations

from exporter.metrics import catalog

from ..colors import TRANSPARENT, thresholds_above, thresholds_below
from ..panels import RATIO, SECONDS, Json, timeseries
from ..queries import Query, recorded, selector, topk_over_range
from ..tables import Column, table
from .shared import TO_HOST, TOP, TOP_NOTE, ports_unavailable_ratio, seconds_until_ports_exhausted


def destinations_table() -> Json:
    """Return a table of destinations with their ephemeral ports and the time left."""
    labels = {"instance": "Host", "remote_address": "Towards", "remote_port": "Port"}
    key = f"job, {', '.join(labels)}"
    unavailable = f"max by ({key}) ({ports_unavailable_ratio()})"
    limit = f"max by (job, instance) ({selector(catalog.SOCKET_EPHEMERAL_PORTS_LIMIT)})"
    return table(
        "Ephemeral ports by destination",
        "Ephemeral ports towards one address and port. When all are in use, connect() to it fails. "
        "Unavailable: without the ports in TIME_WAIT that the kernel reuses (tcp_tw_reuse). Time left: "
        "extrapolated from the last 10 minutes.",
        labels,
        [
            Column("Unavailable", unavailable, RATIO, thresholds_above("ephemeral_ports_ratio"), gauge=True),
            Column("In use", f"max by ({key}) ({selector(catalog.SOCKET_EPHEMERAL_PORTS_USED)})"),
            Column("Limit", f"{limit} * on (job, instance) group_right () {unavailable} ^ 0"),
            Column(
                "Time left",
                f"min by ({key}) ({seconds_until_ports_exhausted()})",
                SECONDS,
                thresholds_below("ephemeral_ports_seconds_left", TRANSPARENT),
            ),
        ],
        data_links={"Host": (TO_HOST,)},
        alerts=["EphemeralPortsNearExhaustion", "EphemeralPortsExhaustedSoon"],
    )


def ports() -> Json:
    """Return a graph of ephemeral port usage by destination."""
    by = "job, instance, remote_address, remote_port"
    bound = recorded("instance:socket_ephemeral_ports_bound:ratio")
    return timeseries(
        "Ephemeral port usage",
        "Ratio of ephemeral ports that connect() cannot use, by destination, and that bind() to port 0 "
        f"cannot use. {TOP_NOTE}",
        [
            Query(
                topk_over_range(TOP, ports_unavailable_ratio(), by),
                "{{remote_address}}:{{remote_port}} from {{instance}}",
            ),
            Query(f"max by (job, instance) ({bound})", "bind() on {{instance}}"),
        ],
        RATIO,
        thresholds="ephemeral_ports_ratio",
        alerts=["EphemeralPortsNearExhaustion", "EphemeralPortsExhaustedSoon"],
    )
