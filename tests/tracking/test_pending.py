"""Owner keys of a count in progress."""

from __future__ import annotations

from array import array

import pytest

from exporter.tracking.pending import OwnerKeys


@pytest.mark.parametrize("read_before_join", [False, True])
def test_joined_owner_keys_include_both_parts(read_before_join: bool) -> None:
    joined, other = OwnerKeys(), OwnerKeys()
    joined.add(array("I", [1, 2]).tobytes())
    other.add(array("I", [3]).tobytes())
    if read_before_join:
        assert other.all() == {3}
    joined.extend(other)
    joined.update([4])
    assert joined.all() == {1, 2, 3, 4}
