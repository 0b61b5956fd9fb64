"""Listeners: accept queues against their limits."""

from __future__ import annotations

from exporter.metrics import catalog

from ..colours import QUIET, at_threshold
from ..panels import RATIO, SHORT, Json, timeseries
from ..queries import Query, of, recorded, worst
from ..tables import Column, table
from .courses import LINES, WORST
from .parts import SERIES_TO_PROCESS, TO_HOST, TO_PROCESS, queue_ratio


def listeners(*matchers: str) -> Json:
    """Accept queues against their backlogs, and what became of the connections."""
    labels = {"instance": "Host", "process": "Process", "local_port": "Port"}
    key = f"job, {', '.join(labels)}"

    def largest(expression: str) -> str:
        return f"max by ({key}) ({expression})"

    def in_state(state: str) -> str:
        chosen = of(catalog.SOCKET_LISTENER_STATES, f'state="{state}"', *matchers)
        return f"sum by ({key}) ({chosen})"

    given_up = recorded("instance_process_port:socket_close_wait_not_accepted:sum", *matchers)
    return table(
        "Listeners: accept queue against its limit",
        "Connections that wait for accept(). A full queue drops new ones. Given up: the caller closed before "
        "it "
        "was accepted.",
        labels,
        [
            Column(
                "Full", largest(queue_ratio(*matchers)), RATIO, at_threshold("accept_queue_ratio"), gauge=True
            ),
            Column("Waiting", largest(of(catalog.SOCKET_LISTENER_ACCEPT_QUEUE_LENGTH, *matchers))),
            Column("Backlog", largest(of(catalog.SOCKET_LISTENER_ACCEPT_QUEUE_LIMIT, *matchers))),
            Column(
                "Given up",
                largest(given_up),
                SHORT,
                at_threshold("close_wait_not_accepted_sockets", QUIET),
            ),
            Column("Established", in_state("established")),
            Column("CLOSE_WAIT", in_state("close_wait")),
        ],
        links={"Host": (TO_HOST,), "Process": (TO_PROCESS,)},
        alerts=["ListenerNotAccepting"],
    )


def queues() -> Json:
    """The same by time."""
    by = "job, instance, process, local_port"
    return timeseries(
        "Accept queues against their limits",
        f"1 is full: connections are dropped. {WORST}",
        [Query(worst(LINES, queue_ratio(), by), "{{process}} port {{local_port}} on {{instance}}")],
        RATIO,
        levels="accept_queue_ratio",
        data_links=[SERIES_TO_PROCESS],
        alerts=["ListenerNotAccepting"],
    )
