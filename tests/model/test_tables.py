"""How many entries a dict may hold before it is made anew: by what CPython does with its table."""

from __future__ import annotations

import sys

import pytest

from exporter.model import entries_at_most


def grown(entries: int) -> int:
    """Bytes of a dict into which so many were put one by one."""
    table: dict[int, int] = {}
    table.update(zip(range(entries), range(entries), strict=True))
    return sys.getsizeof(table)


@pytest.mark.parametrize("used", [1_500, 2_400, 50_000, 69_000, 75_000, 77_000, 95_000])
def test_the_table_is_not_bigger_for_the_others(used: int) -> None:
    """Nor if a sixteenth more come at once."""
    assert grown(entries_at_most(used) + used // 16) == grown(used)


@pytest.mark.parametrize("used", [1_000, 10_000, 21_000, 43_000, 60_000, 80_000, 87_000, 90_000, 1_000_000])
def test_some_are_kept_whatever_the_table(used: int) -> None:
    assert entries_at_most(used) >= used * 17 / 16


@pytest.mark.parametrize(("used", "most"), [(0, 0), (100, 125), (60_000, 75_000), (85_000, 106_250)])
def test_not_many_more_are_kept_where_there_is_room(used: int, most: int) -> None:
    assert entries_at_most(used) == most
