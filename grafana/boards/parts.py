"""What several boards ask, and where their figures lead."""

from __future__ import annotations

from typing import Final

from exporter.metrics import catalog

from ..board import HOST, PROCESS, lead
from ..queries import of, reaching, recorded

TO_HOST: Final = lead("Sockets of this host", HOST, instance="__data.fields.Host")
TO_PROCESS: Final = lead(
    "Everything about this process", PROCESS, instance="__data.fields.Host", process="__data.fields.Process"
)
SERIES_TO_HOST: Final = lead("Sockets of this host", HOST, instance="__field.labels.instance")
SERIES_TO_PROCESS: Final = lead(
    "Everything about this process",
    PROCESS,
    instance="__field.labels.instance",
    process="__field.labels.process",
)


def descriptors_left(*matchers: str) -> str:
    """Seconds until a process has no descriptor left. Those of `other` are not one process's. A process that
    uses few of them only starts, unless they are in CLOSE_WAIT."""
    matchers = matchers or ('process!="other"',)
    left = recorded("instance_process:socket_process_worst_fd_ratio:seconds_left", *matchers)
    many = reaching("ephemeral_ports_rising_ratio", of(catalog.SOCKET_PROCESS_WORST_FD_RATIO, *matchers))
    share = recorded("instance_process:socket_close_wait_descriptors:ratio", *matchers)
    leaks = reaching("close_wait_descriptors_ratio", share)
    return f"({left} and on (job, instance, process) ({many} or {leaks}))"


def ports_left() -> str:
    """Seconds until no port is left towards a destination; of those that the alerts look at: fewer ports are
    those of a service that starts."""
    left = recorded("instance_destination:socket_ephemeral_ports_unavailable:seconds_left")
    many = reaching("ephemeral_ports_rising_ratio", ports_taken())
    return f"({left} and on (job, instance, remote_address, remote_port) {many})"


def ports_taken() -> str:
    """The part of the ports towards a destination that connect() cannot have."""
    return recorded("instance_destination:socket_ephemeral_ports_unavailable:ratio")


def queue_ratio(*matchers: str) -> str:
    """Accept queues against their backlogs."""
    return recorded("instance_process_port:socket_listener_accept_queue:ratio", *matchers)


def stuck(*matchers: str) -> str:
    """Connections in CLOSE_WAIT for longer than the threshold, by process."""
    return recorded("instance_process:socket_close_wait:older_than_threshold", *matchers)
