"""Where descriptors point to: the same by one thread and by two."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from exporter.sources import links
from exporter.sources.links import targets

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")

NUMBER = 300


@pytest.fixture
def directory() -> Iterator[int]:
    directory = os.open("/proc/self/fd", os.O_RDONLY | os.O_DIRECTORY)
    yield directory
    os.close(directory)


@pytest.fixture
def sockets() -> Iterator[list[socket.socket]]:
    with ExitStack() as stack:
        yield [stack.enter_context(socket.socket()) for _ in range(NUMBER)]


@pytest.mark.parametrize("worth", [1, NUMBER, 10 * NUMBER])
def test_each_is_told_at_its_place(
    directory: int, sockets: list[socket.socket], monkeypatch: pytest.MonkeyPatch, worth: int
) -> None:
    monkeypatch.setattr(links, "_WORTH_THREADS", worth)
    closed = {one.fileno() for one in sockets[::7]}
    descriptors = [one.fileno() for one in sockets]
    for one in sockets[::7]:
        one.close()
    found = targets(descriptors, directory)
    assert len(found) == NUMBER
    for descriptor, target in zip(descriptors, found, strict=True):
        if descriptor in closed:
            # A thread of the pool may have been given it by now.
            assert target == "" or not target.startswith("socket:")
        else:
            assert target == f"socket:[{os.fstat(descriptor).st_ino}]"


@pytest.mark.parametrize("worth", [1, 10])
def test_any_other_error_is_raised(monkeypatch: pytest.MonkeyPatch, worth: int) -> None:
    monkeypatch.setattr(links, "_WORTH_THREADS", worth)
    with pytest.raises(OSError, match="Bad file descriptor"):
        targets([1, 2, 3], 1_000_000)


def test_nothing_is_asked_for_nothing(directory: int) -> None:
    assert targets([], directory) == []
