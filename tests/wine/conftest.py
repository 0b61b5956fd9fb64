"""One Windows per test session: its sockets, processes, services and files are separate from this host's."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ..live.namespace import Namespace
from . import base
from .windows import Windows


@pytest.fixture(scope="session")
def windows() -> Iterator[Windows]:
    """Yield a Windows whose Python can import the exporter and the packages that it needs."""
    if reason := base.missing():
        pytest.skip(reason)
    packages = [base.ROOT, base.runtime_packages(), base.packages_for_tests()]
    python = base.windows_python()
    with (
        base.prefix_copy() as prefix,
        Namespace() as opened,
        Windows(opened, prefix, python, packages) as running,
    ):
        yield running
