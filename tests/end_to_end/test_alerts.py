"""From the socket to whoever is called: a program goes wrong, Prometheus and Alertmanager tell it by name,
and when it is mended they tell that, too.

Rules, routes and receivers are those of deploy/, with shorter intervals. Both programs go wrong at the
beginning, so that the minute which one of the alerts takes is waited for once.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from typing import Final

import pytest

from ..demo.monitoring import Monitoring, monitoring
from ..demo.ports import HOME, Ports
from ..demo.receiver import Notice
from ..tools import require
from .inside import inside, once

pytestmark = [pytest.mark.live, once, require("prometheus", "prometheus-alertmanager")]

RUNBOOKS: Final = (
    "https://github.com/socket-state-exporter/socket-state-exporter/blob/main/deploy/prometheus/runbooks"
)
PORTS: Final = Ports()
LOWEST: Final = 40000
RANGE: Final = 40
"""Ports to connect from, none of which anything listens on."""
LEAKED: Final = 15
"""More than are worth a ticket, and fewer than half of RANGE: the callers' ports are to be no matter here."""

SOON: Final = 60.0
"""Seconds after which an alert without `for` has long arrived: it takes about 20."""
A_MINUTE_LATER: Final = 180.0
"""The same for one that waits a minute, were that to begin anew because a scrape failed."""


@pytest.fixture(scope="module")
def watch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Monitoring]:
    """All of it inside a namespace, where `leaky` leaks and `hoarder` holds every port towards `tidy`."""
    with inside() as namespace:
        namespace.sysctl("net.ipv4.ip_local_port_range", f"{LOWEST} {LOWEST + RANGE - 1}")
        with monitoring(tmp_path_factory.mktemp("alerts"), PORTS) as started:
            started.start_service("leaky", PORTS.leaky, keeps=True)
            started.start_service("tidy", PORTS.tidy, keeps=False)
            started.start_caller("visitor", PORTS.leaky, per_second=1000, keep=0, count=LEAKED)
            started.start_caller("hoarder", PORTS.tidy, per_second=1000, keep=RANGE, count=2 * RANGE)
            yield started


def mended(watch: Monitoring, program: str, fired: Notice) -> Notice:
    """Mends the program; then what is told of the same alert."""
    since = time.monotonic()
    watch.mend(program)
    return watch.told("resolved", SOON, since, **fired.labels)


def test_a_leak_of_close_wait_opens_a_ticket_that_names_the_program(watch: Monitoring) -> None:
    fired = watch.told("firing", SOON, alertname="CloseWaitStuck")
    assert (fired.receiver, fired.path) == ("tickets", "/tickets")
    assert fired.labels == {
        "alertname": "CloseWaitStuck",
        "instance": f"{HOME}:{PORTS.exporter}",
        "job": "socket-state-exporter",
        "process": "leaky",
        "severity": "warning",
    }
    assert re.match(
        rf"Process leaky on {HOME}:{PORTS.exporter} has kept {LEAKED} connections in CLOSE_WAIT "
        rf"for more than 10s, the oldest for [\d.]+s, most inbound on port {PORTS.leaky} "
        r"\(cause not_closed\)\. Restart leaky: ",
        fired.annotations["description"],
    ), fired
    assert fired.annotations["runbook_url"] == f"{RUNBOOKS}/CloseWaitStuck.md"

    told = mended(watch, "leaky", fired)
    assert (told.receiver, told.path, told.labels) == (fired.receiver, fired.path, fired.labels)


def test_ports_running_out_page_and_name_the_destination_and_the_program(watch: Monitoring) -> None:
    assert f"made {RANGE} connections" in watch.programs.said("hoarder")
    fired = watch.told("firing", A_MINUTE_LATER, alertname="EphemeralPortsNearExhaustion", call="connect")
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
        f"100% of the ephemeral ports towards {HOME} port {PORTS.tidy} are taken, most by process hoarder;"
        in fired.annotations["description"]
    )
    assert fired.annotations["runbook_url"] == f"{RUNBOOKS}/EphemeralPortsNearExhaustion.md"

    told = mended(watch, "hoarder", fired)
    assert (told.receiver, told.path, told.labels) == (fired.receiver, fired.path, fired.labels)


def test_nobody_else_was_accused(watch: Monitoring) -> None:
    """The first two have to have run before, or there is little to be seen."""
    told = {(notice.labels["alertname"], notice.labels["severity"]) for notice in watch.receiver.notices}
    assert told <= {("CloseWaitStuck", "warning"), ("EphemeralPortsNearExhaustion", "critical")}
    assert {notice.labels.get("process", "leaky") for notice in watch.receiver.notices} <= {"leaky"}
