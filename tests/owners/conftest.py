"""A host of three processes for the tests of owner resolution."""

from __future__ import annotations

import pytest

from exporter.owners.fd_scanner import FdScanner

from ..procfs.conftest import clock as clock
from ..procfs.conftest import tree as tree
from ..procfs.conftest import watch as watch
from ..procfs.trees import Clock, Tree, Watch
from .hosts import ALL, Host, found


@pytest.fixture
def processes(tree: Tree) -> None:
    """10, 20 and 30 with two sockets each: 101, 102; 201, 202; 301, 302."""
    for pid in (10, 20, 30):
        tree.process(pid, pid * 10 + 1, pid * 10 + 2)


@pytest.fixture
def host(tree: Tree, watch: Watch, clock: Clock, processes: None) -> Host:  # noqa: ARG001  # they are to be there
    """These processes, none of them resolved yet."""
    return Host(tree, clock)


@pytest.fixture
def warm(host: Host, watch: Watch) -> Host:
    """The same, with all owners resolved."""
    assert host.pids(*ALL) == [10, 10, 20, 20, 30, 30]
    watch.links()
    return host


@pytest.fixture
def scanner(tree: Tree, watch: Watch, clock: Clock, processes: None) -> FdScanner:  # noqa: ARG001  # they are to be there
    """A scanner of these processes that has not scanned yet."""
    return FdScanner(tree.root, clock)


@pytest.fixture
def warm_scanner(scanner: FdScanner, watch: Watch) -> FdScanner:
    """The same, after one scan of everything."""
    assert set(found(scanner, {999})) >= {(101, 10), (302, 30)}
    assert watch.links()
    return scanner
