"""Sockets by state, process and port, and accept queues."""

from __future__ import annotations

from dataclasses import replace

from exporter.analysis.fold import Limits
from exporter.model.collectors import CollectorName
from exporter.model.process import Owner
from exporter.model.sockets import Listener

from .seen import NGINX, PRINTD, SEEN, collect, values


def test_all_eleven_states_are_there_zeros_included() -> None:
    host = values(collect()["socket_host_states"])
    assert (11, 0.0, 415.0) == (len(host), host["closing",], host["close_wait",])


def test_processes_of_one_name_are_counted_together() -> None:
    assert values(collect()["socket_states"])["established", "nginx", "inbound"] == 70


def test_sockets_without_an_owner_are_counted_by_reason() -> None:
    assert values(collect()["socket_exporter_unowned_sockets"]) == {
        ("released",): 17,
        ("unreadable",): 3,
        ("hidden",): 0,
        ("not_found",): 0,
        ("disabled",): 0,
    }


def test_without_owners_everybody_is_unknown() -> None:
    families = collect(replace(SEEN, names={}, failed=frozenset({CollectorName.OWNERS})))
    for name in ("socket_states", "socket_listener_states", "socket_close_wait_sockets"):
        assert {sample.labels["process"] for sample in families[name].samples} == {"unknown"}


def test_the_fullest_accept_queue_of_a_port_is_shown() -> None:
    families = collect()
    assert values(families["socket_listener_accept_queue_length"])["nginx", "80"] == 7
    assert values(families["socket_listener_accept_queue_limit"])["nginx", "80"] == 511


def test_a_short_queue_that_is_full_goes_before_a_long_one_that_is_not() -> None:
    listening: list[tuple[Listener, Owner]] = [
        (Listener(bytes(4), 80, 1, 4, 4), NGINX),
        (Listener(bytes(16), 80, 2, 9, 512), NGINX),
    ]
    lengths = collect(replace(SEEN, listeners=listening))["socket_listener_accept_queue_length"]
    assert values(lengths) == {("nginx", "80"): 4}


def test_queues_that_the_source_cannot_tell_are_left_out() -> None:
    families = collect(replace(SEEN, listeners=[(Listener(bytes(4), 80, 1, None, None), NGINX)]))
    assert not families["socket_listener_accept_queue_length"].samples
    assert not families["socket_listener_accept_queue_limit"].samples


def test_more_accept_queues_than_series_are_bounded_keeping_the_fullest() -> None:
    many: list[tuple[Listener, Owner]] = [
        (Listener(bytes(4), port, port, port % 50, 50), PRINTD) for port in range(1, 101)
    ]
    families = collect(replace(SEEN, listeners=many), Limits(10, 10, 20))
    lengths = values(families["socket_listener_accept_queue_length"])
    assert len(lengths) == 20
    assert lengths["printd", "49"] == 49
    assert lengths["other", "other"] == 40


def test_the_other_queues_show_the_fullest_of_them_whatever_their_order() -> None:
    """Port 1 has an empty queue too, which comes before that of port 2 in every order by fullness."""
    lengths = [(1, 0), (2, 5), (1, 50), *((port, 100) for port in range(3, 13))]
    many: list[tuple[Listener, Owner]] = [
        (Listener(bytes(4), port, 1, length, 1_000), PRINTD) for port, length in lengths
    ]
    families = collect(replace(SEEN, listeners=many), Limits(10, 10, 11))
    assert values(families["socket_listener_accept_queue_length"])["other", "other"] == 50
