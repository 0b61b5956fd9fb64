"""Namespaces for the live tests, which are skipped with the reason where none can be had."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import pytest

from .helpers import hold_states
from .namespace import Namespace, missing
from .states import Expected


class Held(NamedTuple):
    """A namespace in which sockets in every state stand, and which ones."""

    namespace: Namespace
    expected: list[Expected]


def open_namespace() -> Namespace:
    """A namespace to be entered; skips the test where none can be made."""
    if reason := missing():
        pytest.skip(reason)
    return Namespace()


@pytest.fixture
def namespace() -> Iterator[Namespace]:
    """An empty network namespace."""
    with open_namespace() as opened:
        yield opened


@pytest.fixture(scope="module")
def held() -> Iterator[Held]:
    """Sockets in every state, built anew for each module: TIME_WAIT lasts a minute."""
    with open_namespace() as opened, hold_states(opened) as expected:
        yield Held(opened, expected)
