"""File descriptors and queue bytes by process."""

from __future__ import annotations

from dataclasses import replace

from exporter.model.host import FdUsage

from ..snapshots import BUSY, NGINX, NGINX_CLOSE_WAIT, NGINX_WORKER, PRINTD, PRINTD_CLOSE_WAIT
from .families import ALL, collect, values


def test_worst_fd_ratio_among_processes_of_a_name() -> None:
    descriptors = {
        NGINX: FdUsage(90, 100),
        NGINX_WORKER: FdUsage(10, 100),
        PRINTD: FdUsage(5, 10),
    }
    families = collect(replace(BUSY, fd_usage=descriptors))
    assert values(families["socket_process_open_fds"]) == {("nginx",): 100, ("printd",): 5}
    assert values(families["socket_process_worst_fd_ratio"]) == {("nginx",): 0.9, ("printd",): 0.5}


def test_worst_fd_ratio_of_aggregated_processes() -> None:
    descriptors = {PRINTD: FdUsage(90, 100), NGINX: FdUsage(500, 1_000)}
    families = collect(replace(BUSY, fd_usage=descriptors), replace(ALL, max_processes=0))
    assert values(families["socket_process_worst_fd_ratio"]) == {("other",): 0.9}


def test_no_fd_ratio_without_a_limit() -> None:
    families = collect(replace(BUSY, fd_usage={PRINTD: FdUsage(90, None), NGINX: FdUsage(1, 0)}))
    assert not families["socket_process_worst_fd_ratio"].samples
    assert len(families["socket_process_open_fds"].samples) == 2


def test_both_queues_for_each_process_with_one_of_them() -> None:
    families = collect(replace(BUSY, queue_bytes={PRINTD_CLOSE_WAIT: (0, 5), NGINX_CLOSE_WAIT: (7, 0)}))
    assert values(families["socket_receive_queue_bytes"]) == {("printd",): 0, ("nginx",): 7}
    assert values(families["socket_send_queue_bytes"]) == {("printd",): 5, ("nginx",): 0}
