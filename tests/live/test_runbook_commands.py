"""Commands of the runbooks count what they say, on real sockets."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from ..tools import require
from .conftest import Held
from .helpers import hold_leak
from .namespace import Namespace

pytestmark = [pytest.mark.live, require("ip", "nft", "ss")]

RUNBOOKS: Final = Path(__file__).parents[2] / "deploy/prometheus/runbooks"


def peers(namespace: Namespace, runbook: str) -> dict[str, int]:
    """Return address -> number of connections, from the command that a runbook has for that."""
    text = (RUNBOOKS / f"{runbook}.md").read_text(encoding="utf-8")
    (command,) = [line.strip() for line in text.splitlines() if line.endswith("# peers")]
    output = namespace.run(["sh", "-c", command.removeprefix("sudo ")]).stdout
    return {address: int(count) for count, address in map(str.split, output.splitlines())}


def test_peers_in_close_wait_are_counted_by_address(namespace: Namespace) -> None:
    with hold_leak(namespace, "printd", "not_closed", 12, 631):
        assert peers(namespace, "CloseWaitGrowing") == {"127.0.0.1": 12}


def test_peers_of_orphans_are_counted_by_address(held: Held) -> None:
    counts = peers(held.namespace, "OrphanSocketsNearLimit")
    expected = sum(row.sockets for row in held.expected if row.state == "fin_wait1")
    assert sum(counts.values()) == expected > 0
    assert set(counts) <= {"127.0.0.1", "[::1]", "[::ffff:127.0.0.1]"}
