"""Accept queues and their limits."""

from __future__ import annotations

from dataclasses import replace

from exporter.metrics.cardinality import SeriesLimits
from exporter.model.process import Owner
from exporter.model.sockets import Listener

from ..snapshots import BUSY, NGINX, PRINTD
from .families import collect, values


def test_most_utilized_accept_queue_of_a_port() -> None:
    families = collect()
    assert values(families["socket_listener_accept_queue_length"])["nginx", "80"] == 7
    assert values(families["socket_listener_accept_queue_limit"])["nginx", "80"] == 511


def test_usage_counts_not_length_of_accept_queues() -> None:
    listening: list[tuple[Listener, Owner]] = [
        (Listener(bytes(4), 80, 1, 4, 4), NGINX),
        (Listener(bytes(16), 80, 2, 9, 512), NGINX),
    ]
    lengths = collect(replace(BUSY, listeners=listening))["socket_listener_accept_queue_length"]
    assert values(lengths) == {("nginx", "80"): 4}


def test_unknown_accept_queues_are_absent() -> None:
    families = collect(replace(BUSY, listeners=[(Listener(bytes(4), 80, 1, None, None), NGINX)]))
    assert not families["socket_listener_accept_queue_length"].samples
    assert not families["socket_listener_accept_queue_limit"].samples


def test_series_limit_keeps_the_most_utilized_accept_queues() -> None:
    listeners: list[tuple[Listener, Owner]] = [
        (Listener(bytes(4), port, port, port % 50, 50), PRINTD) for port in range(1, 101)
    ]
    families = collect(replace(BUSY, listeners=listeners), SeriesLimits(10, 10, 20))
    lengths = values(families["socket_listener_accept_queue_length"])
    assert len(lengths) == 20
    assert lengths["printd", "49"] == 49
    assert lengths["other", "other"] == 40


def test_other_is_the_most_utilized_aggregated_accept_queue() -> None:
    """Port 1 has an empty queue, too, which comes before that of port 2 in every order by usage."""
    lengths = [(1, 0), (2, 5), (1, 50), *((port, 100) for port in range(3, 13))]
    listeners: list[tuple[Listener, Owner]] = [
        (Listener(bytes(4), port, 1, length, 1_000), PRINTD) for port, length in lengths
    ]
    families = collect(replace(BUSY, listeners=listeners), SeriesLimits(10, 10, 11))
    assert values(families["socket_listener_accept_queue_length"])["other", "other"] == 50
