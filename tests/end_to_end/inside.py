"""Moves the test itself, with the programs it starts, into a network namespace."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ..live.namespace import Namespace, enter, missing

once = pytest.mark.skipif(
    bool(os.environ.get("SOCKET_STATE_EXPORTER_WHEEL")),
    reason="waits for a minute: only the checkout's pass does",
)
"""Skips tests that need not run again on the installed wheel."""


@contextmanager
def inside() -> Iterator[Namespace]:
    """Move this thread into a new network namespace and back; skip if that is not permitted."""
    if reason := missing():
        pytest.skip(reason)
    with Namespace() as namespace, entered(namespace):
        yield namespace


@contextmanager
def entered(namespace: Namespace) -> Iterator[None]:
    """Move this thread, with the programs that it starts, into a network namespace and back."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        enter(namespace.path)
        try:
            yield
        finally:
            enter(f"/proc/self/fd/{home}")
    finally:
        os.close(home)


def inhabitants(namespace: Namespace) -> dict[int, str]:
    """Return pid -> name of the processes in a namespace, except its holder and this process."""
    holder = Path(namespace.path).parents[1]
    others = set(Path("/proc").glob("[0-9]*")) - {holder, Path(f"/proc/{os.getpid()}")}
    found = {}
    for process in others:
        try:
            if (process / "ns" / "net").samefile(namespace.path):
                found[int(process.name)] = (process / "comm").read_text().strip()
        except OSError:  # it has ended
            continue
    return found
