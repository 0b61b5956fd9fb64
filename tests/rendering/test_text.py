"""The report as text and as JSON."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest

from exporter import __version__
from exporter.diagnosis.finding import DiagnosisInput, FindingKind
from exporter.diagnosis.report import STATE_DESCRIPTIONS, Report, build_report
from exporter.model.collectors import CollectorName
from exporter.model.host import KernelCounters
from exporter.model.process import Unowned
from exporter.model.snapshot import Snapshot
from exporter.model.sockets import ESTABLISHED, STATE_NAMES
from exporter.rendering import text as module
from exporter.rendering.text import exit_status, render_json, render_text

from ..diagnosis.helpers import near_limit_snapshot
from ..diagnosis.windows_host import print_server
from ..snapshots import PRINTD, QUIET, close_wait, inbound, make_snapshot, problem_snapshot

GOLDEN: Final = Path(__file__).parent.parent / "golden"


def report_of(snapshot: Snapshot, *, windows: bool = False) -> Report:
    return build_report(DiagnosisInput(snapshot, windows=windows))


def as_json(snapshot: Snapshot) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(render_json(report_of(snapshot)))
    return document


LINUX_REPORT: Final = report_of(problem_snapshot())
WINDOWS_REPORT: Final = report_of(print_server(), windows=True)


@pytest.mark.parametrize(
    ("report", "name"), [(LINUX_REPORT, "explain.txt"), (WINDOWS_REPORT, "explain-windows.txt")]
)
def test_text_equals_the_golden_file(report: Report, name: str, update_golden: bool) -> None:
    text, golden = render_text(report), GOLDEN / name
    if update_golden:
        golden.write_text(text)
    assert golden.read_text() == text


@pytest.mark.parametrize(
    ("report", "name"), [(LINUX_REPORT, "explain.json"), (WINDOWS_REPORT, "explain-windows.json")]
)
def test_json_equals_the_golden_file(report: Report, name: str, update_golden: bool) -> None:
    text = render_json(report).replace(__version__, "VERSION")
    golden = GOLDEN / name
    if update_golden:
        golden.write_text(text)
    assert golden.read_text() == text


@pytest.mark.parametrize("report", [report_of(QUIET), LINUX_REPORT, WINDOWS_REPORT])
def test_text_fits_a_terminal(report: Report) -> None:
    lines = render_text(report).splitlines()
    assert max(map(len, lines)) <= 88
    assert [line for line in lines if line != line.rstrip()] == []


def test_host_without_problems() -> None:
    report = report_of(make_snapshot(inbound(ESTABLISHED, 3)))
    assert render_text(report).startswith("No problems found.\n")
    assert exit_status(report) == 0


def test_notes_are_no_problems() -> None:
    report = report_of(make_snapshot(counters=KernelCounters(listen_overflows=3)))
    text = render_text(report)
    assert text.startswith("No problems found.\n")
    assert "NOTE: The host has counted 3 accept queue overflows since boot" in text
    assert exit_status(report) == 0


def test_limit_that_is_nearly_reached_qualifies_the_summary() -> None:
    report = report_of(near_limit_snapshot())
    text = render_text(report)
    assert text.startswith("No problems found, but 1 limit is nearly reached.\n")
    assert "NOTE: app (pid 20) uses 94 % of the ephemeral ports to 127.0.0.1:5432" in text
    assert exit_status(report) == 0
    spots = report_of(replace(near_limit_snapshot(), failed=frozenset({CollectorName.QUEUES})))
    assert spots.summary == (
        "No problems found, but 1 limit is nearly reached and some data could not be read."
    )


def test_blind_spots_qualify_the_summary() -> None:
    report = report_of(make_snapshot(inbound(ESTABLISHED, 3, owner=Unowned.NOT_FOUND)))
    assert render_text(report).startswith("No problems found, but some data could not be read.\n")
    assert exit_status(report) == 0


@pytest.mark.parametrize(
    ("snapshot", "summary"),
    [
        (make_snapshot(close_wait(20)), "1 problem found: 1 warning."),
        (make_snapshot(close_wait(200)), "1 problem found: 1 critical."),
        (problem_snapshot(), "3 problems found: 2 critical and 1 warning."),
    ],
)
def test_findings_are_counted_by_severity(snapshot: Snapshot, summary: str) -> None:
    assert report_of(snapshot).summary == summary
    assert exit_status(report_of(snapshot)) == 1


def test_unreadable_sockets_have_an_exit_status_of_their_own() -> None:
    report = report_of(
        make_snapshot(
            groups=None,
            listeners=None,
            close_wait=None,
            failed=frozenset({CollectorName.STATES, CollectorName.LISTENERS}),
        )
    )
    assert render_text(report).startswith("The sockets could not be read.\n")
    assert exit_status(report) == 2


def test_states_are_the_kernels_in_descending_order() -> None:
    states = as_json(problem_snapshot())["states"]
    assert set(states) == set(STATE_NAMES.values()) == set(STATE_DESCRIPTIONS)
    assert list(states.values()) == sorted(states.values(), reverse=True)
    assert states["close_wait"] == 415
    assert "listen" not in as_json(make_snapshot(failed=frozenset({CollectorName.LISTENERS})))["states"]
    assert as_json(make_snapshot(groups=None, failed=frozenset({CollectorName.STATES})))["states"] is None


def test_text_shows_20_findings_and_counts_the_rest() -> None:
    snapshot = make_snapshot(*(close_wait(20, port=port) for port in range(1, 32)))
    text = render_text(report_of(snapshot))
    assert text.count("WARNING: ") == 20
    assert "11 more findings: `--json` lists all." in text
    assert len(as_json(snapshot)["findings"]) == 31


def test_every_kind_of_finding_is_documented() -> None:
    assert module.__doc__
    for kind in FindingKind:
        assert f"`{kind.value}`" in module.__doc__


def test_every_key_of_the_json_is_documented() -> None:
    def keys(value: object) -> set[str]:
        if isinstance(value, dict):
            return set(value).union(*map(keys, value.values()))
        return set().union(*map(keys, value)) if isinstance(value, list) else set()

    assert module.__doc__
    documented = {word for word in module.__doc__.split("`") if word.isidentifier()}
    assert keys({**as_json(problem_snapshot()), "states": {}}) <= documented


def test_unprintable_name_is_escaped_in_text_and_exact_in_json() -> None:
    snapshot = make_snapshot(close_wait(20), names={PRINTD: "\udcff\x1b[31m"})
    assert r"\udcff\x1b[31m (pid 4711)" in render_text(report_of(snapshot))
    assert as_json(snapshot)["findings"][0]["processes"][0]["name"] == "\udcff\x1b[31m"
