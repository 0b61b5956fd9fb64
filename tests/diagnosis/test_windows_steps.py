"""Words of the report on Windows and on Linux, and steps for an administrator of Windows."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

import pytest

from exporter.diagnosis.finding import DiagnosisInput, Finding, FindingKind, Severity
from exporter.diagnosis.report import build_report
from exporter.diagnosis.windows_steps import quote, restart_steps
from exporter.model.close_wait import Cause
from exporter.model.collectors import CollectorName
from exporter.model.host import SysctlLimits
from exporter.model.privilege import Privilege
from exporter.model.process import Unowned
from exporter.model.snapshot import Snapshot
from exporter.model.sockets import ESTABLISHED, TIME_WAIT
from exporter.rendering.html import render_status_page
from exporter.rendering.text import render_json, render_text

from ..rendering.test_html import AT
from ..snapshots import make_snapshot, outbound
from .helpers import only_finding
from .test_sentences import (
    THRESHOLDS,
    close_wait_snapshots,
    leak_snapshots,
    limit_snapshots,
    state_snapshots,
    windows_only_snapshots,
)
from .windows_host import (
    DAY,
    DEFAULT_RANGE,
    DNS_CACHE,
    SHOP,
    SPOOLER,
    as_windows_reports,
    print_jobs,
    print_server,
    windows_snapshot,
)

LINUX_WORDS: Final = re.compile(
    r"\broot\b|sysctl|net\.(ipv4|core)|/proc|CAP_|namespace|file descriptor|tcp_\w+"
    r"|`(ss|nc|ls|gdb|lsof|nstat) "
    r"|jstack|py-spy|sudo|ulimit|systemd|hidepid|SELinux|AppArmor|io_uring|SCM_RIGHTS|--pid=host|Linux|netlink"
    r"|Cannot assign requested address|less than a minute ago"
)
WINDOWS_WORDS: Final = re.compile(
    r"Windows|netsh|netstat|PowerShell|-Service\b|Stop-Process|Task Manager|registry|\bhandles?\b"
    r"|administrator|procdump|HKLM|Tcpip|closesocket|MaxUserPort|2 to 4 minutes|\bopened up to"
)

LINUX_SNAPSHOTS: Final = (close_wait_snapshots, leak_snapshots, state_snapshots, limit_snapshots)


def blind_snapshots() -> Iterator[Snapshot]:
    """Data that is missing, for each reason that Windows has."""
    measured = set(windows_snapshot().durations)
    for source, reason, bound in itertools.product(
        ("iphlpapi", "psutil"), ("unreadable", "not_found", "disabled"), (False, True)
    ):
        yield windows_snapshot(
            outbound(ESTABLISHED, 2, owner=Unowned.NOT_FOUND),
            source=source,
            unresolved_reason=reason,
            has_bound_sockets=bound,
        )
    yield windows_snapshot(failed=frozenset(CollectorName))
    yield windows_snapshot(limits=SysctlLimits())
    for name in measured:
        seconds = dict.fromkeys(measured - {name}, 0.0)
        yield windows_snapshot(durations=seconds)


def windows_snapshots() -> Iterator[Snapshot]:
    for snapshots in (*LINUX_SNAPSHOTS, windows_only_snapshots):
        yield from map(as_windows_reports, snapshots())
    yield from blind_snapshots()
    yield print_server()


def renderings(data: DiagnosisInput) -> Iterator[str]:
    """Yield the report in all forms. The title of the page and its links are the same everywhere."""
    report = build_report(data)
    yield render_text(report)
    texts = [text for spot in report.blind_spots for text in spot]
    for finding in report.findings:
        texts += [finding.title, finding.detail, *finding.steps, finding.usage.name if finding.usage else ""]
    yield "\n".join(texts)


def find_words(pattern: re.Pattern[str], data: DiagnosisInput) -> set[str]:
    return {match.group() for text in renderings(data) for match in pattern.finditer(text)}


def test_no_text_on_windows_has_words_of_linux() -> None:
    found: set[str] = set()
    kinds: set[FindingKind] = set()
    for snapshot, privilege in itertools.product(windows_snapshots(), (Privilege.NONE, Privilege.FULL)):
        data = DiagnosisInput(snapshot, windows=True, thresholds=THRESHOLDS, privilege=privilege)
        found |= find_words(LINUX_WORDS, data)
        kinds |= {finding.kind for finding in build_report(data).findings}
    assert not found
    # The other kinds are about data that Windows does not report.
    assert {kind.value for kind in kinds} == {
        *("close_wait", "handles", "ephemeral_ports", "bound_ports", "max_user_port", "time_wait"),
        *("syn_sent", "syn_recv", "fin_wait2"),
    }


def test_no_text_on_linux_has_words_of_windows() -> None:
    found: set[str] = set()
    for snapshots in LINUX_SNAPSHOTS:
        for snapshot in snapshots():
            found |= find_words(WINDOWS_WORDS, DiagnosisInput(snapshot, thresholds=THRESHOLDS))
    assert not found


def test_status_page_and_json_have_no_words_of_linux() -> None:
    report = build_report(DiagnosisInput(print_server(), windows=True))
    page = render_status_page(report, AT, title="exporter", version="1", telemetry_path="/metrics")
    for text in (re.sub("<style>.*?</style>", "", page, flags=re.DOTALL), render_json(report)):
        # The keys of the JSON are the same on all systems.
        assert not LINUX_WORDS.search(text.replace("dead_fds", ""))
    assert "<caption>12,056 TCP sockets on this host</caption>" in page
    assert '<th scope="col">Opened</th>' in page
    assert "up to 3 d ago" in page


def leak(*rows: Any, **changes: Any) -> Finding:
    return only_finding(windows_snapshot(*rows, **changes), windows=True)


def test_title_names_service_port_and_age_of_the_first_connection() -> None:
    finding = leak(print_jobs(3_012))
    assert finding.title == (
        "spoolsv (service Spooler, pid 1234) has 3,012 connections that the servers it called on port 9100 "
        "have closed, opened up to 3 d ago"
    )
    assert finding.opened_seconds == 3 * DAY
    assert finding.processes[0].services == ("Spooler",)
    assert "The first of them was opened 3 d ago: none has been in this state for longer." in finding.detail
    assert "Each takes a handle and a port until the program closes it." in finding.detail


def test_age_has_a_lower_bound_from_the_first_collection() -> None:
    finding = leak(print_jobs(150, age=7200))
    assert "are in CLOSE_WAIT, the oldest for at least 2 h." in finding.detail
    assert (finding.oldest_seconds, finding.oldest_at_most_seconds) == (7200, None)
    fresh = leak(print_jobs(150))
    assert "150 connections that it opened to port 9100 are in CLOSE_WAIT." in fresh.detail
    assert fresh.oldest_seconds is None


@pytest.mark.parametrize(
    ("count", "age", "opened", "severity"),
    [
        (100, 0.0, 90.0, Severity.WARNING),
        (99, 0.0, 9000.0, Severity.NOTE),
        (9, 0.0, 9000.0, None),
        (99, 0.0, 59.0, None),
        (99, 1.0, 9000.0, None),
        (11, 660.0, 9000.0, Severity.WARNING),
    ],
)
def test_first_collection_reports_connections_that_are_possibly_old(
    count: int, age: float, opened: float, severity: Severity | None
) -> None:
    snapshot = windows_snapshot(print_jobs(count, age=age, opened=opened))
    findings = build_report(DiagnosisInput(snapshot, windows=True)).findings
    assert [finding.severity for finding in findings] == ([severity] if severity else [])


def test_list_of_processes_has_both_bounds() -> None:
    report = build_report(DiagnosisInput(windows_snapshot(print_jobs(5, age=120)), windows=True))
    assert (
        "         5  spoolsv (service Spooler, pid 1234), outbound to port 9100, the oldest for\n"
        "            at least 2 min, opened up to 3 d ago\n"
    ) in render_text(report)
    assert report.holders["close_wait"][0].opened_seconds == 3 * DAY


def test_first_step_tells_hanging_from_leaking_and_the_next_restarts_the_service() -> None:
    check, restart, end, report = leak(print_jobs(150)).steps
    assert check.startswith("Check whether spoolsv hangs")
    assert "`Restart-Service Spooler`" in restart
    assert end.endswith("`Stop-Process -Id 1234 -Force`, then `Start-Service Spooler`.")
    assert report.startswith("Report this to the vendor of spoolsv")


def test_process_without_service_is_ended_by_its_pid() -> None:
    restart, report = restart_steps("shop", 4000, ())
    assert "`Stop-Process -Id 4000`" in restart
    assert "Service" not in restart + report
    assert "`Stop-Process -Id PID`" in restart_steps("the program", None, ())[0]


def test_services_of_one_process_are_restarted_one_after_the_other() -> None:
    restart, _ = restart_steps("svchost", 900, ("BFE", "mpssvc"))
    assert "`Restart-Service NAME` for BFE and mpssvc." in restart


@pytest.mark.parametrize(
    ("service", "argument"),
    [
        ("Spooler", "Spooler"),
        ("MSSQL$PAYROLL", "'MSSQL$PAYROLL'"),
        ("Bob's print service", "'Bob''s print service'"),
        ("-Force", "'-Force'"),
    ],
)
def test_service_names_are_quoted_for_powershell(service: str, argument: str) -> None:
    assert quote(service) == argument


def test_step_restarts_the_service_of_the_process_with_most_connections() -> None:
    other = SPOOLER._replace(pid=1300)
    rows = [row._replace(group=row.group._replace(owner=other)) for row in print_jobs(2)]
    names = {SPOOLER: "spoolsv", other: "spoolsv"}
    finding = leak(print_jobs(150), rows, names=names, services={SPOOLER: ("B",), other: ("A",)})
    assert finding.title.startswith("spoolsv (services A and B, pids 1234 and 1300) has 152 connections")
    assert "`Restart-Service B`" in finding.steps[1]


def test_name_that_contains_the_services_does_not_repeat_them() -> None:
    (finding,) = build_report(
        DiagnosisInput(windows_snapshot(handle_counts={DNS_CACHE: 10_000}), windows=True)
    ).findings
    assert finding.title == "svchost:Dnscache (pid 900) has 10,000 handles open"


@pytest.mark.parametrize(("count", "expected"), [(9_999, []), (10_000, [FindingKind.HANDLES])])
def test_handles_are_a_note_from_10_000_on(count: int, expected: list[FindingKind]) -> None:
    snapshot = windows_snapshot(outbound(ESTABLISHED, 3, owner=SHOP), handle_counts={SHOP: count})
    findings = build_report(DiagnosisInput(snapshot, windows=True)).findings
    assert [finding.kind for finding in findings] == expected
    assert all("3 TCP sockets are among them." in finding.detail for finding in findings)


def limits_of(**changes: Any) -> Snapshot:
    return windows_snapshot(limits=replace(SysctlLimits(ephemeral=DEFAULT_RANGE), **changes))


def test_max_user_port_is_a_note_if_it_differs_from_the_range() -> None:
    finding = only_finding(limits_of(max_user_port=32_768), windows=True)
    assert "`MaxUserPort` 32768" in finding.title
    assert "The range is 49152 to 65535, and this report counts with it." in finding.detail
    assumed = only_finding(limits_of(max_user_port=32_768, ephemeral_is_assumed=True), windows=True)
    assert "The range is 49152 to 65535, assumed, and" in assumed.detail
    for same in (limits_of(max_user_port=65_535), limits_of()):
        assert not build_report(DiagnosisInput(same, windows=True)).findings


def test_usage_of_an_assumed_range_says_so() -> None:
    limits = SysctlLimits(ephemeral=DEFAULT_RANGE, ephemeral_is_assumed=True)
    snapshot = windows_snapshot(outbound(ESTABLISHED, 15_000, owner=SHOP), limits=limits)
    finding = only_finding(snapshot, windows=True)
    assert finding.usage
    assert finding.usage.name == "ephemeral ports to 10.0.0.5:5432 (range assumed)"
    assert "events 4231" in finding.detail
    assert any("`netstat -anobq`" in step for step in finding.steps)


@pytest.mark.parametrize(("seconds", "text"), [(None, "2 to 4 minutes"), (30.0, "30 s")])
def test_time_wait_lasts_2_to_4_minutes_unless_it_is_set(seconds: float | None, text: str) -> None:
    limits = SysctlLimits(ephemeral=DEFAULT_RANGE, time_wait_seconds=seconds)
    snapshot = windows_snapshot(outbound(TIME_WAIT, 15_000, owner=SHOP), limits=limits)
    report = build_report(DiagnosisInput(snapshot, windows=True))
    assert f"in TIME_WAIT (closed in the last {text})" in report.findings[0].detail
    assert any(f"(now {text})" in step for step in report.findings[0].steps)
    assert f"each for {'' if seconds is None else 'at most '}{text}\n" in render_text(report)


def test_windows_says_once_that_causes_are_unknown() -> None:
    text = render_text(build_report(DiagnosisInput(print_server(), windows=True)))
    assert text.count("has noticed that its peer has closed") == 1
    assert "cannot tell" not in text
    assert "psutil" not in text


def test_missing_bound_sockets_are_a_blind_spot() -> None:
    def descriptions(**changes: Any) -> str:
        spots = build_report(DiagnosisInput(windows_snapshot(**changes), windows=True)).blind_spots
        return " ".join(spot.description for spot in spots)

    assert "bound to a port" not in descriptions()
    assert "this Windows does not list them" in descriptions(has_bound_sockets=False)
    assert "psutil does not list them" in descriptions(has_bound_sockets=False, source="psutil")


def test_other_systems_have_neither_upper_bound_nor_service() -> None:
    finding = only_finding(make_snapshot(print_jobs_without_times(20)))
    assert finding.opened_seconds is None
    assert "opened up to" not in finding.title
    assert finding.cause is Cause.UNKNOWN


def print_jobs_without_times(count: int) -> Iterator[Any]:
    for row in print_jobs(count, age=7200):
        yield row._replace(close_wait=row.close_wait._replace(seconds_since_opened=None))
