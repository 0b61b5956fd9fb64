"""From the socket to the notification: a program leaks, an alert names it, and resolves when it is fixed.

Rules, routes and receivers are those of deploy/, with shorter intervals. Both programs leak from the start,
so that the tests wait only once for the alert that takes a minute.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Final

import pytest

from ..demo.monitoring import Monitoring, monitoring
from ..demo.ports import HOME, Ports
from ..demo.receiver import Notice
from ..live.helpers import hold_leak
from ..tools import require
from .inside import inside, once

pytestmark = [pytest.mark.live, once, require("prometheus", "prometheus-alertmanager")]

RUNBOOKS: Final = (
    "https://github.com/socket-state-exporter/socket-state-exporter/blob/main/deploy/prometheus/runbooks"
)
PORTS: Final = Ports()
LOWEST: Final = 40000
RANGE: Final = 40
"""Size of the ephemeral port range, on which no program listens."""
LEAKED: Final = 15
"""Enough for a ticket, and fewer than half of RANGE, so that the client's ports do not matter here."""
PROBED: Final = 12
"""Number of connections that another program leaks under keepalive."""

SOON: Final = 60.0
"""Timeout in seconds for an alert without `for`, which takes about 20."""
A_MINUTE_LATER: Final = 180.0
"""Timeout for an alert with `for: 1m`, which may start again after a failed scrape."""


@pytest.fixture(scope="module")
def watch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Monitoring]:
    """Run everything in a namespace, where `leaky` and `probing` leak and `hoarder` uses every port towards
    `tidy`."""
    with inside() as namespace, ExitStack() as leaks:
        namespace.sysctl("net.ipv4.ip_local_port_range", f"{LOWEST} {LOWEST + RANGE - 1}")
        with monitoring(tmp_path_factory.mktemp("alerts"), PORTS) as started:
            # Two scrape intervals in CLOSE_WAIT, less than the age from which that counts as stuck.
            namespace.sysctl("net.ipv4.tcp_fin_timeout", "6")
            started.wait_for_scrape()
            leaks.enter_context(hold_leak(namespace, "probing", "keepalive", PROBED, 19700))
            started.start_service("leaky", PORTS.leaky, keeps=True)
            started.start_service("tidy", PORTS.tidy, keeps=False)
            started.start_client("visitor", PORTS.leaky, per_second=1000, keep=0, count=LEAKED)
            started.start_client("hoarder", PORTS.tidy, per_second=1000, keep=RANGE, count=2 * RANGE)
            yield started


def fixed(watch: Monitoring, program: str, fired: Notice) -> Notice:
    """Fix the program, and return the notice that resolves its alert."""
    since = time.monotonic()
    watch.fix(program)
    return watch.wait_for_notice("resolved", SOON, since, **fired.labels)


def test_close_wait_leak_opens_a_ticket_naming_the_process(watch: Monitoring) -> None:
    fired = watch.wait_for_notice("firing", SOON, alertname="CloseWaitStuck", process="leaky")
    assert (fired.receiver, fired.path) == ("tickets", "/tickets")
    assert fired.labels == {
        "alertname": "CloseWaitStuck",
        "instance": f"{HOME}:{PORTS.exporter}",
        "job": "socket-state-exporter",
        "process": "leaky",
        "severity": "warning",
    }
    # It fires at ten, which may be before the last of them is old enough to count.
    assert re.match(
        rf"Process leaky on {HOME}:{PORTS.exporter} has kept 1[0-5] connections in CLOSE_WAIT "
        rf"for more than 10s, the oldest connection for [\d.]+s\. Most connections in CLOSE_WAIT are inbound "
        rf"on port {PORTS.leaky} \(cause not_closed\)\. Restart leaky: ",
        fired.annotations["description"],
    ), fired
    assert fired.annotations["runbook_url"] == f"{RUNBOOKS}/CloseWaitStuck.md"

    resolved = fixed(watch, "leaky", fired)
    assert (resolved.receiver, resolved.path, resolved.labels) == (fired.receiver, fired.path, fired.labels)


def test_leak_under_keepalive_opens_a_ticket_with_dead_descriptors(watch: Monitoring) -> None:
    """The connections leave CLOSE_WAIT after 6 s, before they count as stuck."""
    fired = watch.wait_for_notice("firing", SOON, alertname="CloseWaitStuck", process="probing")
    assert fired.labels["severity"] == "warning"
    assert re.match(
        rf"Process probing on {HOME}:{PORTS.exporter} has kept {PROBED} dead file descriptors "
        r"\(TCP sockets that have lost their connection\) for more than 10s\. Restart probing: ",
        fired.annotations["description"],
    ), fired


def test_port_exhaustion_pages_with_destination_and_process(watch: Monitoring) -> None:
    assert f"made {RANGE} connections" in watch.programs.output("hoarder")
    fired = watch.wait_for_notice(
        "firing", A_MINUTE_LATER, alertname="EphemeralPortsNearExhaustion", call="connect"
    )
    assert (fired.receiver, fired.path) == ("pages", "/pages")
    assert fired.labels == {
        "alertname": "EphemeralPortsNearExhaustion",
        "call": "connect",
        "instance": f"{HOME}:{PORTS.exporter}",
        "job": "socket-state-exporter",
        "remote_address": HOME,
        "remote_port": str(PORTS.tidy),
        "severity": "critical",
    }
    assert (
        f"100% of the ephemeral ports towards {HOME} port {PORTS.tidy} are in use, most by process hoarder."
        in fired.annotations["description"]
    )
    assert fired.annotations["runbook_url"] == f"{RUNBOOKS}/EphemeralPortsNearExhaustion.md"

    resolved = fixed(watch, "hoarder", fired)
    assert (resolved.receiver, resolved.path, resolved.labels) == (fired.receiver, fired.path, fired.labels)


def test_no_other_process_is_named(watch: Monitoring) -> None:
    """Must run after the tests above, which cause the notices."""
    alerts = {(notice.labels["alertname"], notice.labels["severity"]) for notice in watch.receiver.notices}
    assert alerts <= {("CloseWaitStuck", "warning"), ("EphemeralPortsNearExhaustion", "critical")}
    named = {notice.labels.get("process", "leaky") for notice in watch.receiver.notices}
    assert named <= {"leaky", "probing"}
