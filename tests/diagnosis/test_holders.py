"""The processes with most sockets in CLOSE_WAIT and TIME_WAIT are listed even if all is well."""

from __future__ import annotations

import json

from exporter.diagnosis.finding import DiagnosisInput
from exporter.diagnosis.holders import find_holders
from exporter.diagnosis.report import build_report
from exporter.model.close_wait import Cause
from exporter.model.groups import Attribution, Direction, SocketGroup
from exporter.model.process import Unowned
from exporter.model.snapshot import Snapshot
from exporter.model.sockets import CLOSE_WAIT, TIME_WAIT
from exporter.rendering.text import render_json, render_text

from ..snapshots import APP, DATABASE, PRINTD, close_wait, dead, inbound, make_snapshot, outbound


def lines(snapshot: Snapshot) -> list[str]:
    """Return the lines of the report up to the states, without the summary."""
    text = render_text(build_report(DiagnosisInput(snapshot)))
    assert text.startswith("No problems found.\n")
    return [line for line in text.partition(" TCP socket")[0].splitlines()[1:-1] if line]


def inferred(count: int) -> tuple[SocketGroup, int]:
    return SocketGroup(TIME_WAIT, APP, Direction.OUTBOUND, 5432, DATABASE, Attribution.INFERRED), count


def test_nothing_is_listed_without_such_sockets() -> None:
    assert lines(make_snapshot(inbound(1, 5))) == []
    assert find_holders(make_snapshot(groups=None, close_wait=None)) == {
        "close_wait": [],
        "time_wait": [],
        "dead_fds": [],
    }


def test_close_wait_has_process_port_number_and_age() -> None:
    snapshot = make_snapshot(
        close_wait(1, age=30, owner=APP, port=5432, direction=Direction.OUTBOUND),
        close_wait(8, age=45),
        close_wait(2, age=2, silent=10_800, port=9100, cause=Cause.NOT_READ),
    )
    assert lines(snapshot) == [
        "Most sockets in CLOSE_WAIT",
        "         8  printd (pid 4711), inbound to port 631, the oldest for 45 s",
        "         2  printd (pid 4711), inbound to port 9100, the oldest for 2 s to 3 h",
        "         1  app (pid 20), outbound to port 5432, for 30 s",
    ]


def test_inferred_owners_of_time_wait_are_probable() -> None:
    snapshot = make_snapshot(
        inbound(TIME_WAIT, 300),
        inferred(20),
        outbound(TIME_WAIT, 12, owner=Unowned.RELEASED, port=443),
    )
    assert lines(snapshot) == [
        "Most sockets in TIME_WAIT, each for at most 60 s",
        "       300  printd (pid 4711), inbound to port 631",
        "        20  app (pid 20), probably, outbound to port 5432",
        "        12  unknown processes, outbound to port 443",
    ]
    partly = make_snapshot(outbound(TIME_WAIT, 30), inferred(20))
    assert "        50  app (pid 20), 20 of them probably, outbound to port 5432" in lines(partly)


def test_dead_file_descriptors_have_an_age_once_it_is_known() -> None:
    assert lines(make_snapshot(dead_fds=dead(3, age=0.02))) == [
        "Most dead file descriptors (TCP sockets in no kernel table)",
        "         3  printd (pid 4711)",
    ]
    assert "         3  printd (pid 4711), the oldest for at least 50 s" in lines(
        make_snapshot(dead_fds=dead(3, age=50))
    )


def test_text_shows_5_rows_and_counts_the_rest() -> None:
    snapshot = make_snapshot(*(close_wait(port, age=1, port=port) for port in range(1, 8)))
    text = "\n".join(lines(snapshot))
    assert text.count("printd (pid 4711)") == 5
    assert "3 in 2 more rows: `explain --json` lists all." in text
    document = json.loads(render_json(build_report(DiagnosisInput(snapshot))))
    assert [row["count"] for row in document["holders"]["close_wait"]] == [7, 6, 5, 4, 3, 2, 1]
    assert document["holders"]["close_wait"][0] == {
        "process": {"name": "printd", "pids": [4711], "more_pids": 0, "services": []},
        "count": 7,
        "direction": "inbound",
        "port": 7,
        "oldest_seconds": 1.0,
        "oldest_at_most_seconds": None,
        "opened_seconds": None,
        "inferred": 0,
    }


def test_close_wait_is_counted_without_its_collector() -> None:
    group = SocketGroup(CLOSE_WAIT, PRINTD, Direction.INBOUND, 631)
    (holder,) = find_holders(make_snapshot((group, 5), close_wait=None))["close_wait"]
    assert (holder.count, holder.oldest_seconds) == (5, None)


def test_number_is_that_of_the_state_and_mptcp_is_added() -> None:
    rows = list(close_wait(3, age=9))
    mptcp = [row._replace(close_wait=row.close_wait._replace(mptcp=True)) for row in close_wait(2, age=9)]
    snapshot = make_snapshot(rows)
    (holder,) = find_holders(make_snapshot(groups=snapshot.groups, close_wait=[*rows, *mptcp]))["close_wait"]
    assert holder.count == 5
    gone = make_snapshot(groups={}, close_wait=rows)
    assert find_holders(gone)["close_wait"] == []
