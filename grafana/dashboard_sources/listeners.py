"""Panels about listeners: accept queues and their limits."""

from __future__ import annotations

from exporter.metrics import catalog

from ..colors import TRANSPARENT, thresholds_above
from ..panels import RATIO, SHORT, Json, timeseries
from ..queries import Query, recorded, selector, topk_over_range
from ..tables import Column, table
from .shared import SERIES_TO_PROCESS, TO_HOST, TO_PROCESS, TOP, TOP_NOTE, accept_queue_ratio


def listeners_table(*matchers: str) -> Json:
    """Return a table of listeners with their accept queues and connections."""
    labels = {"instance": "Host", "process": "Process", "local_port": "Port"}
    key = f"job, {', '.join(labels)}"

    def largest(expression: str) -> str:
        return f"max by ({key}) ({expression})"

    def in_state(state: str) -> str:
        series = selector(catalog.SOCKET_LISTENER_STATES, f'state="{state}"', *matchers)
        return f"sum by ({key}) ({series})"

    closed_by_client = recorded("instance_process_port:socket_close_wait_not_accepted:sum", *matchers)
    return table(
        "Listeners",
        "Waiting: connections that the program has not accepted. A full queue drops new connections. Closed "
        "by client: closed before the program accepted them. On Windows only the columns "
        "Established and CLOSE_WAIT have values.",
        labels,
        [
            Column(
                "Queue usage",
                largest(accept_queue_ratio(*matchers)),
                RATIO,
                thresholds_above("accept_queue_ratio"),
                gauge=True,
            ),
            Column("Waiting", largest(selector(catalog.SOCKET_LISTENER_ACCEPT_QUEUE_LENGTH, *matchers))),
            Column("Backlog", largest(selector(catalog.SOCKET_LISTENER_ACCEPT_QUEUE_LIMIT, *matchers))),
            Column(
                "Closed by client",
                largest(closed_by_client),
                SHORT,
                thresholds_above("close_wait_not_accepted_sockets", TRANSPARENT),
            ),
            Column("Established", in_state("established")),
            Column("CLOSE_WAIT", in_state("close_wait")),
        ],
        data_links={"Host": (TO_HOST,), "Process": (TO_PROCESS,)},
        alerts=["ListenerNotAccepting"],
    )


def accept_queues() -> Json:
    """Return a graph of accept queue usage."""
    by = "job, instance, process, local_port"
    return timeseries(
        "Accept queue usage",
        f"Ratio of queue length to backlog. Above 1 the kernel drops new connections. "
        f"Empty on Windows, which does not tell. {TOP_NOTE}",
        [
            Query(
                topk_over_range(TOP, accept_queue_ratio(), by),
                "{{process}} port {{local_port}} on {{instance}}",
            )
        ],
        RATIO,
        thresholds="accept_queue_ratio",
        data_links=[SERIES_TO_PROCESS],
        alerts=["ListenerNotAccepting"],
    )
