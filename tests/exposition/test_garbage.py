"""Python's search for garbage waits for the end of a look, and is on again behind it."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from exporter.exposition.garbage import leave_out_what_is_there, search_put_off


@pytest.fixture
def enabled() -> Iterator[None]:
    gc.enable()
    yield
    gc.enable()
    gc.unfreeze()


@pytest.mark.usefixtures("enabled")
def test_it_is_off_meanwhile_and_on_afterwards() -> None:
    with search_put_off():
        assert not gc.isenabled()
    assert gc.isenabled()


@pytest.mark.usefixtures("enabled")
def test_also_where_something_is_raised() -> None:
    with pytest.raises(KeyError), search_put_off():
        raise KeyError
    assert gc.isenabled()


@pytest.mark.usefixtures("enabled")
def test_where_it_was_off_it_stays_off() -> None:
    gc.disable()
    with search_put_off():
        pass
    assert not gc.isenabled()


@pytest.mark.usefixtures("enabled")
def test_what_is_there_is_not_looked_at_again() -> None:
    leave_out_what_is_there()
    assert gc.get_freeze_count() > 1_000
