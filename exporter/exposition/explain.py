"""A report for a terminal, or as JSON for other programs.

The JSON is one object. Its keys stay; further ones may come:

- `version`, `source`: of the exporter, and where it read the sockets from
- `verdict`: one sentence
- `findings`: a list, the worst first, each with
  - `kind`: `close_wait`, `accept_queue`, `descriptors`, `ephemeral_ports`, `bound_ports`, `time_wait`,
    `time_wait_buckets`, `orphans`, `memory`, `syn_sent`, `syn_recv`, `fin_wait2`, `listen_overflows`,
    `time_wait_overflows`
  - `severity`: `critical`, `warning` or `note`
  - `title`, `detail`, `advice` (a list): sentences, which may change
  - `processes`: a list of `name` (as in the label `process`), `pids` (the lowest few), `more_pids` (a number)
  - `count` of sockets, `direction` (`inbound`, `outbound`), `port` of the service, `remote_address`,
    `cause` (as in socket_close_wait_sockets), `oldest_seconds`: null where they do not apply
  - `limit`: null, or `name`, `used`, `limit`, `ratio`
- `states`: sockets by state, all of them; null where they could not be read
- `blind_spots`: a list of `what` could not be seen, and its `remedy`, which may be empty
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from .. import __version__
from .findings.finding import Finding
from .findings.words import plural, sentence, usage
from .report import MEANINGS, Report

NOTHING: Final = 0
FOUND: Final = 1
NOT_SEEN: Final = 2

_WIDTH: Final = 88
_INDENT: Final = "  "
_MOST: Final = 20
"""Findings shown: who has more has read enough."""


def status(report: Report) -> int:
    """The exit status: 0 nothing but notes, 1 something to worry about, 2 the sockets could not be read."""
    if report.states is None:
        return NOT_SEEN
    return FOUND if report.urgent else NOTHING


def as_text(report: Report) -> str:
    """The report for a terminal 88 characters wide."""
    blocks = [
        report.verdict,
        *("\n".join(_finding(finding)) for finding in report.findings[:_MOST]),
        *_more(len(report.findings) - _MOST),
        *_states(report.states),
        *_blind_spots(report),
    ]
    return "\n\n".join(blocks) + "\n"


def as_json(report: Report, source: str) -> str:
    """The report as a JSON object (keys: see the module)."""
    found = {
        "version": __version__,
        "source": source,
        "verdict": report.verdict,
        "findings": [_plain(finding) for finding in report.findings],
        "states": report.states,
        "blind_spots": [spot._asdict() for spot in report.blind_spots],
    }
    return json.dumps(found, indent=2) + "\n"


def _plain(finding: Finding) -> dict[str, Any]:
    near = finding.near
    return {
        "kind": finding.kind.value,
        "severity": finding.severity.value,
        "title": finding.title,
        "detail": finding.detail,
        "advice": finding.advice,
        "processes": [
            {"name": who.name, "pids": who.pids, "more_pids": who.more} for who in finding.processes
        ],
        "count": finding.count,
        "direction": finding.direction and finding.direction.value,
        "port": finding.port,
        "remote_address": finding.remote_address,
        "cause": finding.cause,
        "oldest_seconds": finding.oldest_seconds and round(finding.oldest_seconds, 3),
        "limit": near
        and {"name": near.name, "used": near.used, "limit": near.limit, "ratio": round(near.ratio, 4)},
    }


def _finding(finding: Finding) -> Iterator[str]:
    yield _wrapped(f"{finding.severity.value.upper()}: {finding.title}")
    yield _wrapped(finding.detail, _INDENT)
    if finding.near:
        yield _wrapped(f"{sentence(usage(finding.near))}.", _INDENT)
    for number, step in enumerate(finding.advice, 1):
        yield _wrapped(step, f"{_INDENT}{number}. ")


def _more(count: int) -> Sequence[str]:
    return [f"And {plural(count, 'finding')} more: `--json` lists all."] if count > 0 else []


def _states(states: Mapping[str, int] | None) -> Iterator[str]:
    if states is None:
        return
    rows = [(state.upper(), f"{count:,}", MEANINGS[state]) for state, count in states.items() if count]
    lines = [f"{_INDENT}{state:<11} {count:>9}  {meaning}" for state, count, meaning in rows]
    yield "\n".join([f"{plural(sum(states.values()), 'TCP socket')} in this network namespace", *lines])


def _blind_spots(report: Report) -> Iterator[str]:
    if report.blind_spots:
        spots = [_wrapped(f"{what} {remedy}".strip(), f"{_INDENT}- ") for what, remedy in report.blind_spots]
        yield "\n".join(["What could not be seen", *spots])


def _wrapped(text: str, start: str = "") -> str:
    """The text in lines; `start` begins the first, and the others are indented as far."""
    return textwrap.fill(
        text, _WIDTH, initial_indent=start, subsequent_indent=" " * len(start), break_on_hyphens=False
    )
