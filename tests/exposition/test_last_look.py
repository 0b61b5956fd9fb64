"""Who may have an older look gets it; who wants a new one does not."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

from exporter.exposition.last_look import FRESH_FOR, LastLook
from exporter.exposition.observation import Observation

from .looks import look


class Host:
    """Counts how often it is looked at."""

    def __init__(self) -> None:
        self.looks = 0
        self.now = 100.0
        self.busy = threading.Lock()

    def observe(self) -> Observation:
        assert self.busy.acquire(blocking=False), "looked at twice at a time"
        self.looks += 1
        self.busy.release()
        return look()


@pytest.fixture
def host() -> Host:
    return Host()


@pytest.fixture
def last_look(host: Host) -> LastLook:
    return LastLook(host.observe, lambda: host.now)


def test_a_look_is_good_for_some_seconds(host: Host, last_look: LastLook) -> None:
    first = last_look.recent()
    host.now += FRESH_FOR - 0.01
    assert last_look.recent() is first
    host.now += 0.01
    assert last_look.recent() is not first
    assert host.looks == 2


def test_the_look_of_a_scrape_is_good_for_people_too(host: Host, last_look: LastLook) -> None:
    seen = last_look.new()
    assert last_look.recent().seen is seen
    assert host.looks == 1


def test_a_scrape_always_looks_anew(host: Host, last_look: LastLook) -> None:
    last_look.recent()
    last_look.new()
    last_look.new()
    assert host.looks == 3


def test_it_says_when_it_looked(last_look: LastLook) -> None:
    before = datetime.now(UTC)
    assert before <= last_look.recent().at <= datetime.now(UTC)


def test_nobody_looks_while_another_does(last_look: LastLook) -> None:
    with ThreadPoolExecutor(8) as pool:
        for future in [pool.submit(last_look.new) for _ in range(200)]:
            future.result()


def test_after_a_failure_it_looks_again(host: Host) -> None:
    def fail() -> Observation:
        host.looks += 1
        raise OSError

    failing = LastLook(fail, lambda: host.now)
    for _ in range(2):
        with pytest.raises(OSError):  # noqa: PT011  # the very one
            failing.recent()
    assert host.looks == 2
