"""Ports to connect from, by destination."""

from __future__ import annotations

from exporter.metrics import catalog

from ..colours import QUIET, at_threshold, below_threshold
from ..panels import RATIO, SECONDS, Json, timeseries
from ..queries import Query, of, recorded, worst
from ..tables import Column, table
from .courses import LINES, WORST
from .parts import TO_HOST, ports_left, ports_taken


def destinations() -> Json:
    """Ports towards each destination, with the time that is left."""
    labels = {"instance": "Host", "remote_address": "Towards", "remote_port": "Port"}
    key = f"job, {', '.join(labels)}"
    taken = f"max by ({key}) ({ports_taken()})"
    limit = f"max by (job, instance) ({of(catalog.SOCKET_EPHEMERAL_PORTS_LIMIT)})"
    return table(
        "Fullest destinations: ports against the range",
        "Ephemeral ports towards one address and port. With none left, connecting there fails. Taken: "
        "without "
        "those in TIME_WAIT that the kernel gives out again (tcp_tw_reuse). Full in: were it to rise on as "
        "in the "
        "last ten minutes.",
        labels,
        [
            Column("Taken", taken, RATIO, at_threshold("ephemeral_ports_ratio"), gauge=True),
            Column("Used", f"max by ({key}) ({of(catalog.SOCKET_EPHEMERAL_PORTS_USED)})"),
            Column("Of", f"{limit} * on (job, instance) group_right () {taken} ^ 0"),
            Column(
                "Full in",
                f"min by ({key}) ({ports_left()})",
                SECONDS,
                below_threshold("ephemeral_ports_seconds_left", QUIET),
            ),
        ],
        links={"Host": (TO_HOST,)},
        alerts=["EphemeralPortsNearExhaustion", "EphemeralPortsExhaustedSoon"],
    )


def ports() -> Json:
    """The same by time."""
    by = "job, instance, remote_address, remote_port"
    bound = recorded("instance:socket_ephemeral_ports_bound:ratio")
    return timeseries(
        "Ports towards the fullest destinations",
        f"Ephemeral ports that connect() cannot have, against all; and those that bind() to port 0 can. "
        f"{WORST}",
        [
            Query(worst(LINES, ports_taken(), by), "{{remote_address}}:{{remote_port}} from {{instance}}"),
            Query(f"max by (job, instance) ({bound})", "bind() on {{instance}}"),
        ],
        RATIO,
        levels="ephemeral_ports_ratio",
        alerts=["EphemeralPortsNearExhaustion", "EphemeralPortsExhaustedSoon"],
    )
