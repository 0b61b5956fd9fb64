"""What processes use, and what the host allows and counts."""

from __future__ import annotations

from dataclasses import replace

from exporter.model.close_wait import Cause
from exporter.model.host import FdUsage, KernelCounters, SysctlLimits

from .seen import ALL, LEAK, NGINX, NGINX_WORKER, PILE, PRINTD, SEEN, collect, stuck, values


def test_the_worst_of_the_processes_of_a_name_is_told() -> None:
    descriptors = {
        NGINX: FdUsage(90, 100),
        NGINX_WORKER: FdUsage(10, 100),
        PRINTD: FdUsage(5, 10),
    }
    families = collect(replace(SEEN, descriptors=descriptors))
    assert values(families["socket_process_open_fds"]) == {("nginx",): 100, ("printd",): 5}
    assert values(families["socket_process_worst_fd_ratio"]) == {("nginx",): 0.9, ("printd",): 0.5}


def test_the_worst_stays_the_worst_when_its_process_is_folded() -> None:
    descriptors = {PRINTD: FdUsage(90, 100), NGINX: FdUsage(500, 1_000)}
    families = collect(replace(SEEN, descriptors=descriptors), replace(ALL, processes=0))
    assert values(families["socket_process_worst_fd_ratio"]) == {("other",): 0.9}


def test_a_process_without_a_limit_has_no_share_of_it() -> None:
    families = collect(replace(SEEN, descriptors={PRINTD: FdUsage(90, None), NGINX: FdUsage(1, 0)}))
    assert not families["socket_process_worst_fd_ratio"].samples
    assert len(families["socket_process_open_fds"].samples) == 2


def test_a_queue_of_each_kind_is_there_for_every_process_that_has_either() -> None:
    families = collect(replace(SEEN, queues={PILE: (0, 5), LEAK: (7, 0)}))
    assert values(families["socket_receive_queue_bytes"]) == {("printd",): 0, ("nginx",): 7}
    assert values(families["socket_send_queue_bytes"]) == {("printd",): 5, ("nginx",): 0}


def test_the_oldest_of_a_process_is_told() -> None:
    pile = [
        *stuck(PILE, Cause.NOT_READ, 7.0),
        *stuck(PILE, Cause.SENDING, 90.0),
        *stuck(LEAK, Cause.NOT_CLOSED, 3.0),
    ]
    oldest = collect(replace(SEEN, stuck=pile))["socket_close_wait_oldest_age_seconds"]
    assert values(oldest) == {("printd",): 90, ("nginx",): 3}


def test_what_the_host_does_not_tell_is_absent_and_zero_is_not() -> None:
    limits = SysctlLimits(time_wait_reuse=0, max_time_wait_sockets=None)
    counters = KernelCounters(time_wait_overflows=0, listen_drops=None)
    families = collect(replace(SEEN, limits=limits, counters=counters))
    assert values(families["socket_time_wait_reuse"]) == {(): 0}
    assert values(families["socket_kernel_time_wait_overflows"]) == {(): 0}
    absent = (
        "socket_time_wait_limit",
        "socket_kernel_listen_drops",
        "socket_kernel_aborts",
        "socket_orphans",
    )
    assert not families.keys() & absent
