"""The owners found so far, and the room that they take."""

from __future__ import annotations

import sys

from exporter.model.process import ProcessId, Unowned
from exporter.model.sockets import NO_OWNER_KEY
from exporter.owners.owner_table import OwnerTable

ANYBODY = ProcessId(10, 1.0)


def test_unknown_key_is_not_found_and_no_key_is_released() -> None:
    owners = OwnerTable({101: ANYBODY})
    assert [owners[owner_key] for owner_key in (101, 102, NO_OWNER_KEY)] == [
        ANYBODY,
        Unowned.NOT_FOUND,
        Unowned.RELEASED,
    ]
    assert 102 not in owners


def test_memory_is_constant_while_keys_are_replaced() -> None:
    owners = OwnerTable.fromkeys(range(1_000), ANYBODY)
    at_first = sys.getsizeof(owners)
    for turn in range(100):
        owners = owners.drop(range(turn * 50, turn * 50 + 50))
        owners.update(dict.fromkeys(range(1_000 + turn * 50, 1_050 + turn * 50), ANYBODY))
    assert set(owners) == set(range(5_000, 6_000))
    assert sys.getsizeof(owners) == at_first


def test_table_is_rebuilt_rarely() -> None:
    owners = OwnerTable.fromkeys(range(1_000), ANYBODY)
    others = [owners := owners.drop([owner_key]) for owner_key in range(500)]
    assert 2 <= len(set(map(id, others))) <= 5
