"""Readings in two parts."""

from __future__ import annotations

from array import array

import pytest

from exporter.analysis.reading import Holders


@pytest.mark.parametrize("wanted", [False, True])
def test_the_holders_of_both_parts_are_there_whenever_somebody_wanted_them(wanted: bool) -> None:
    one, other = Holders(), Holders()
    one.add(array("I", [1, 2]).tobytes())
    other.add(array("I", [3]).tobytes())
    if wanted:
        assert other.all() == {3}
    one.join(other)
    one.update([4])
    assert one.all() == {1, 2, 3, 4}
