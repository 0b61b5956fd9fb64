"""Stand-ins for the DLLs of Windows."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .fake_dlls import FakeDlls, fake_dlls


@pytest.fixture
def dlls() -> Iterator[FakeDlls]:
    """Yield DLLs without functions."""
    with fake_dlls() as faked:
        yield faked
