"""Connections that wait for a peer: on this host the peer is named, elsewhere it is not blamed wrongly."""

from __future__ import annotations

from typing import Any

import pytest

from exporter.diagnosis.finding import DiagnosisInput, Finding, FindingKind
from exporter.diagnosis.report import find_problems
from exporter.model.close_wait import ClassifiedCloseWait
from exporter.model.groups import Direction
from exporter.model.sockets import FIN_WAIT2, SYN_SENT

from ..snapshots import APP, HERE, LOOPBACK, PRINTD, THERE, close_wait, inbound, make_snapshot, outbound

ELSEWHERE = "the leak is there, not here"
ASK_PEER = "Run `socket-state-exporter explain` on the peer"
IPV6_LOOPBACK = bytes(15) + b"\1"


def finding_of(kind: FindingKind, *parts: Any, **changes: Any) -> Finding:
    findings = find_problems(DiagnosisInput(make_snapshot(*parts, **changes)))
    (finding,) = [finding for finding in findings if finding.kind is kind]
    return finding


def between(local: bytes, remote: bytes, rows: Any) -> list[ClassifiedCloseWait]:
    """Return the connections with these addresses."""
    return [
        row._replace(
            close_wait=row.close_wait._replace(
                socket=row.close_wait.socket._replace(local_address=local, remote_address=remote)
            )
        )
        for row in rows
    ]


class TestFinWait2:
    @pytest.mark.parametrize("address", [LOOPBACK, HERE, IPV6_LOOPBACK])
    def test_server_on_this_host_is_named(self, address: bytes) -> None:
        finding = finding_of(
            FindingKind.FIN_WAIT2,
            outbound(FIN_WAIT2, 1_000, address=address, source=address, port=631),
            between(address, address, close_wait(1_000)),
        )
        assert "Both ends are on this host: printd (pid 4711) has the other ends open" in finding.detail
        assert "Look into printd (pid 4711)" in finding.steps[0]
        assert ELSEWHERE not in finding.detail
        assert ASK_PEER not in " ".join(finding.steps)

    def test_client_on_this_host_is_named(self) -> None:
        rows = [
            row._replace(
                close_wait=row.close_wait._replace(
                    socket=row.close_wait.socket._replace(
                        local_address=LOOPBACK, local_port=40_000, remote_address=LOOPBACK, remote_port=631
                    )
                )
            )
            for row in close_wait(1_000, owner=APP, direction=Direction.OUTBOUND)
        ]
        finding = finding_of(FindingKind.FIN_WAIT2, inbound(FIN_WAIT2, 1_000), rows)
        assert "Both ends are on this host: app (pid 20) has the other ends open" in finding.detail
        assert ELSEWHERE not in finding.detail

    def test_peers_here_and_elsewhere_are_told_apart(self) -> None:
        finding = finding_of(
            FindingKind.FIN_WAIT2,
            outbound(FIN_WAIT2, 700, address=LOOPBACK, source=LOOPBACK, port=631),
            outbound(FIN_WAIT2, 300, address=THERE, port=631),
            between(LOOPBACK, LOOPBACK, close_wait(700)),
        )
        assert "700 connections have both ends on this host: printd (pid 4711) has" in finding.detail
        assert "Those of the others are in CLOSE_WAIT on the peers." in finding.detail
        assert ASK_PEER in " ".join(finding.steps)

    def test_peer_on_this_host_without_known_owner(self) -> None:
        finding = finding_of(
            FindingKind.FIN_WAIT2,
            outbound(FIN_WAIT2, 1_000, address=LOOPBACK, source=LOOPBACK),
            close_wait=None,
        )
        assert "Both ends are on this host" in finding.detail
        assert "`ss -tnp state close-wait`" in finding.steps[0]

    @pytest.mark.parametrize("group", [inbound(FIN_WAIT2, 1_000), outbound(FIN_WAIT2, 1_000, port=631)])
    def test_peers_elsewhere_are_in_close_wait_there(self, group: Any) -> None:
        finding = finding_of(FindingKind.FIN_WAIT2, group, close_wait(1_000), close_wait(5, owner=APP))
        assert ELSEWHERE in finding.detail
        assert ASK_PEER in finding.steps[0]
        assert "this host" not in finding.detail


class TestSynSent:
    def test_destination_on_this_host_has_a_full_accept_queue(self) -> None:
        finding = finding_of(
            FindingKind.SYN_SENT, outbound(SYN_SENT, 100, address=LOOPBACK, source=LOOPBACK, port=631)
        )
        assert "The destination is this host: either the accept queue" in finding.detail
        assert "`ss -ltnp 'sport = :631'`" in finding.steps[0]
        assert "nc -vz" not in " ".join(finding.steps)

    def test_destination_elsewhere_may_be_down(self) -> None:
        finding = finding_of(FindingKind.SYN_SENT, outbound(SYN_SENT, 100, owner=PRINTD, port=631))
        assert "unless its accept queue is full" in finding.detail
        assert "nc -vz HOST 631" in finding.steps[0]
