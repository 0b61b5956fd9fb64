"""The table of owners by key, and its memory."""

from __future__ import annotations

import sys

from exporter.model.process import ProcessId, Unowned
from exporter.model.sockets import NO_OWNER_KEY
from exporter.owners.owner_table import OwnerTable

OWNER = ProcessId(10, 1.0)


def test_unknown_key_is_not_found_and_no_key_is_released() -> None:
    owners = OwnerTable({101: OWNER})
    assert [owners[owner_key] for owner_key in (101, 102, NO_OWNER_KEY)] == [
        OWNER,
        Unowned.NOT_FOUND,
        Unowned.RELEASED,
    ]
    assert 102 not in owners


def test_memory_is_constant_while_keys_are_replaced() -> None:
    owners = OwnerTable.fromkeys(range(1_000), OWNER)
    initial_size = sys.getsizeof(owners)
    for step in range(100):
        owners = owners.drop(range(step * 50, step * 50 + 50))
        owners.update(dict.fromkeys(range(1_000 + step * 50, 1_050 + step * 50), OWNER))
    assert set(owners) == set(range(5_000, 6_000))
    assert sys.getsizeof(owners) == initial_size


def test_table_is_rebuilt_rarely() -> None:
    owners = OwnerTable.fromkeys(range(1_000), OWNER)
    tables = [owners := owners.drop([owner_key]) for owner_key in range(500)]
    assert 2 <= len(set(map(id, tables))) <= 5
