"""Network namespaces for the live tests, which are skipped with the reason if none can be made."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import pytest

from .helpers import hold_states
from .namespace import Namespace, missing
from .states import Expected


class Held(NamedTuple):
    """A namespace with sockets in every state, and the expected counts."""

    namespace: Namespace
    expected: list[Expected]


def open_namespace() -> Namespace:
    """Return a namespace that is not open yet; skip the test if none can be made."""
    if reason := missing():
        pytest.skip(reason)
    return Namespace()


@pytest.fixture
def namespace() -> Iterator[Namespace]:
    """Yield an empty network namespace."""
    with open_namespace() as opened:
        yield opened


@pytest.fixture(scope="module")
def held() -> Iterator[Held]:
    """Yield sockets in every state, built again for each module: TIME_WAIT lasts a minute."""
    with open_namespace() as opened, hold_states(opened) as expected:
        yield Held(opened, expected)
