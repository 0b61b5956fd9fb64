"""Rendering of the report as text for a terminal, and as JSON for other programs.

The JSON is one object. Its keys are stable; further ones may be added:

- `version`, `source`: version of the exporter, and name of the socket source
- `summary`: one sentence
- `findings`: a list, the worst first, each with
  - `kind`: `close_wait`, `accept_queue`, `descriptors`, `handles`, `dead_fds`, `ephemeral_ports`,
    `bound_ports`, `max_user_port`, `time_wait`, `time_wait_buckets`, `orphans`, `memory`, `syn_sent`,
    `syn_recv`, `fin_wait2`, `listen_overflows`, `time_wait_overflows`
  - `severity`: `critical`, `warning` or `note`
  - `title`, `detail`, `steps` (a list): sentences, which may change
  - `processes`: a list of `name` (as in the label `process`), `pids` (the lowest few), `more_pids` (a
    number), `services` (names of Windows services)
  - `count` of sockets or handles, `direction` (`inbound`, `outbound`), `port` of the service,
    `remote_address`, `cause` (as in socket_close_wait_sockets), `oldest_seconds` (lower bound of the age of
    the oldest), `oldest_at_most_seconds` (upper bound, if keepalive makes the lower one too low),
    `opened_seconds` (time since the first connection was opened, an upper bound as well, with the source
    `iphlpapi`), `dead_fds` (number of dead file descriptors, which `count` does not include): null where they
    do not apply
  - `usage` of a limit: null, or `name`, `used`, `limit`, `ratio`
- `holders`: the processes with most sockets, whether or not that is a problem: the lists `close_wait`,
  `time_wait` and `dead_fds`, the largest first, each entry with `process` (as in `processes`), `count`,
  `direction`, `port`, `oldest_seconds`, `oldest_at_most_seconds`, `opened_seconds` (as in findings), and
  `inferred` (number of sockets in TIME_WAIT whose owner is probable, not certain)
- `states`: sockets by state, all of them; null where they could not be read
- `blind_spots`: data that could not be read, a list of `description` and `remedy`, which may be empty
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any, Final

from .. import __version__
from ..diagnosis.finding import Finding, ProcessRef
from ..diagnosis.formatting import capitalize_first, format_usage, plural
from ..diagnosis.holders import (
    MAX_HOLDERS_SHOWN,
    Holder,
    age_text,
    opened_text,
    owner_text,
    port_text,
    rest_texts,
    title_text,
)
from ..diagnosis.report import STATE_DESCRIPTIONS, Report

EXIT_OK: Final = 0
EXIT_PROBLEMS: Final = 1
EXIT_UNREADABLE: Final = 2

MAX_FINDINGS: Final = 20
"""Maximum number of findings in the text; the JSON has all."""

_WIDTH: Final = 88
_INDENT: Final = "  "


def exit_status(report: Report) -> int:
    """Return 0 for notes only, 1 for problems, 2 if the sockets or their owners could not be read."""
    if report.states is None or report.is_unfinished:
        return EXIT_UNREADABLE
    return EXIT_PROBLEMS if report.problem_count else EXIT_OK


def render_text(report: Report) -> str:
    """Return the report for a terminal of 88 columns."""
    blocks = [
        report.summary,
        *("\n".join(_render_finding(finding)) for finding in report.findings[:MAX_FINDINGS]),
        *_render_more(len(report.findings) - MAX_FINDINGS),
        *_render_holders(report),
        *_render_states(report),
        *_render_blind_spots(report),
    ]
    return "\n\n".join(blocks) + "\n"


def render_json(report: Report) -> str:
    """Return the report as a JSON object, whose keys this module describes."""
    document = {
        "version": __version__,
        "source": report.source,
        "summary": report.summary,
        "findings": [_to_dict(finding) for finding in report.findings],
        "holders": {
            name: [_holder_to_dict(holder) for holder in holders] for name, holders in report.holders.items()
        },
        "states": report.states,
        "blind_spots": [spot._asdict() for spot in report.blind_spots],
    }
    return json.dumps(document, indent=2) + "\n"


def _to_dict(finding: Finding) -> dict[str, Any]:
    usage = finding.usage
    return {
        "kind": finding.kind.value,
        "severity": finding.severity.value,
        "title": finding.title,
        "detail": finding.detail,
        "steps": finding.steps,
        "processes": [_process_to_dict(process) for process in finding.processes],
        "count": finding.count,
        "direction": finding.direction and finding.direction.value,
        "port": finding.port,
        "remote_address": finding.remote_address,
        "cause": finding.cause,
        "oldest_seconds": _rounded(finding.oldest_seconds),
        "oldest_at_most_seconds": _rounded(finding.oldest_at_most_seconds),
        "opened_seconds": _rounded(finding.opened_seconds),
        "dead_fds": finding.dead_fds,
        "usage": usage
        and {"name": usage.name, "used": usage.used, "limit": usage.limit, "ratio": round(usage.ratio, 4)},
    }


def _holder_to_dict(holder: Holder) -> dict[str, Any]:
    return {
        "process": _process_to_dict(holder.process),
        "count": holder.count,
        "direction": holder.direction and holder.direction.value,
        "port": holder.port,
        "oldest_seconds": _rounded(holder.oldest_seconds),
        "oldest_at_most_seconds": _rounded(holder.oldest_at_most_seconds),
        "opened_seconds": _rounded(holder.opened_seconds),
        "inferred": holder.inferred,
    }


def _process_to_dict(process: ProcessRef) -> dict[str, Any]:
    return {
        "name": process.name,
        "pids": process.pids,
        "more_pids": process.more_pids,
        "services": process.services,
    }


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)


def _render_finding(finding: Finding) -> Iterator[str]:
    yield _wrap(f"{finding.severity.value.upper()}: {finding.title}")
    yield _wrap(finding.detail, _INDENT)
    if finding.usage:
        yield _wrap(f"{capitalize_first(format_usage(finding.usage))}.", _INDENT)
    for number, step in enumerate(finding.steps, 1):
        yield _wrap(step, f"{_INDENT}{number}. ")


def _render_more(count: int) -> Sequence[str]:
    return [f"{plural(count, 'more finding')}: `--json` lists all."] if count > 0 else []


def _render_holders(report: Report) -> Iterator[str]:
    for name, holders in report.holders.items():
        if holders:
            lines = [_render_holder(holder) for holder in holders[:MAX_HOLDERS_SHOWN]]
            lines += [_wrap(text, _INDENT) for text in rest_texts(holders)]
            title = title_text(name, report.time_wait_seconds, windows=report.windows)
            yield "\n".join([title, *lines])


def _render_holder(holder: Holder) -> str:
    age = age_text(holder)
    oldest = f"the oldest for {age}" if holder.count > 1 else f"for {age}"
    opened = opened_text(holder)
    parts = (
        owner_text(holder),
        port_text(holder),
        oldest if age else "",
        f"opened {opened}" if opened else "",
    )
    return _wrap(", ".join(filter(None, parts)), f"{_INDENT}{holder.count:>8,}  ")


def _render_states(report: Report) -> Iterator[str]:
    states = report.states
    if states is None:
        return
    rows = [
        (state.upper(), f"{count:,}", STATE_DESCRIPTIONS[state]) for state, count in states.items() if count
    ]
    lines = [f"{_INDENT}{state:<11} {count:>8}  {description}" for state, count, description in rows]
    yield "\n".join([f"{plural(sum(states.values()), 'TCP socket')} {report.scope}", *lines])


def _render_blind_spots(report: Report) -> Iterator[str]:
    if report.blind_spots:
        spots = [
            _wrap(f"{spot.description} {spot.remedy}".strip(), f"{_INDENT}- ") for spot in report.blind_spots
        ]
        yield "\n".join(["Data that could not be read", *spots])


def _wrap(text: str, start: str = "") -> str:
    """Return the text in lines. start: prefix of the first line; the others are indented by its length."""
    return textwrap.fill(
        text, _WIDTH, initial_indent=start, subsequent_indent=" " * len(start), break_on_hyphens=False
    )
