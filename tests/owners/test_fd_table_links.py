"""Targets of descriptors."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from exporter.owners.fd_table import read_links

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


def test_targets_are_in_the_order_of_the_descriptors(directory: int, sockets: list[socket.socket]) -> None:
    closed = {one.fileno() for one in sockets[::7]}
    descriptors = [one.fileno() for one in sockets]
    for one in sockets[::7]:
        one.close()
    found = read_links(descriptors, directory)
    assert len(found) == NUMBER
    for descriptor, target in zip(descriptors, found, strict=True):
        assert target == ("" if descriptor in closed else f"socket:[{os.fstat(descriptor).st_ino}]")


def test_any_other_error_is_raised() -> None:
    with pytest.raises(OSError, match="Bad file descriptor"):
        read_links([1, 2, 3], 1_000_000)


def test_no_targets_for_no_descriptors(directory: int) -> None:
    assert read_links([], directory) == []
