"""Readings in two parts."""

from __future__ import annotations

from array import array

import pytest

from exporter.tracking.pending import OwnerKeys


@pytest.mark.parametrize("wanted", [False, True])
def test_joined_owner_keys_include_both_parts(wanted: bool) -> None:
    one, other = OwnerKeys(), OwnerKeys()
    one.add(array("I", [1, 2]).tobytes())
    other.add(array("I", [3]).tobytes())
    if wanted:
        assert other.all() == {3}
    one.join(other)
    one.update([4])
    assert one.all() == {1, 2, 3, 4}
