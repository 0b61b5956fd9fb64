"""One thread, one thing at a time."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import wait

import pytest

from exporter.exposition.worker import Worker


def test_work_is_done_in_turn_in_one_thread() -> None:
    worker, done = Worker("turns"), []

    def work(number: int) -> tuple[str, int]:
        done.append(number)
        return threading.current_thread().name, number

    futures = [worker.submit(lambda number=number: work(number)) for number in range(20)]
    assert [future.result(20) for future in futures] == [("turns", number) for number in range(20)]
    assert done == list(range(20))


def test_a_failure_is_for_who_waits_and_the_next_is_done() -> None:
    worker = Worker("fails")
    failed = worker.submit(lambda: 1 // 0)
    assert worker.submit(lambda: 3).result(20) == 3
    with pytest.raises(ZeroDivisionError):
        failed.result(20)


def test_what_nobody_wants_any_more_is_not_done() -> None:
    worker, may_go_on = Worker("cancels"), threading.Event()
    worker.submit(lambda: may_go_on.wait(20))
    unwanted = worker.submit(lambda: 1)
    assert unwanted.cancel()
    may_go_on.set()
    assert worker.submit(lambda: 2).result(20) == 2
    wait([unwanted], 20)
    assert unwanted.cancelled()


def test_a_program_ends_though_it_hangs() -> None:
    program = """
import threading
from exporter.exposition.worker import Worker
begun = threading.Event()
Worker("hangs").submit(lambda: (begun.set(), threading.Event().wait()))
begun.wait()
"""
    assert subprocess.run([sys.executable, "-c", program], timeout=20, check=False).returncode == 0
