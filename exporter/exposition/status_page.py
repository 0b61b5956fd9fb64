"""The report as one HTML page: no scripts, nothing loaded from elsewhere, everything escaped."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from .blind_spots import BlindSpot
from .findings.finding import Finding, Severity, Usage
from .findings.words import plural, sentence, usage
from .page import document, links
from .report import MEANINGS, Report

_MOST: Final = 20
"""Findings shown: the page stays small."""

_QUOTED: Final = re.compile("`([^`]*)`")


def status_page(report: Report, at: datetime, *, title: str, version: str, telemetry_path: str) -> str:
    """The page. at: when the look was, in UTC. title: what the exporter is called."""
    name, moment = _text(title), _time(at)
    parts = (
        f"<header>\n<h1>{name}</h1>\n<p>The TCP sockets of this host, as of {moment}.</p>\n</header>\n",
        "<main>\n",
        _findings(report),
        _states(report.states) if report.states is not None else "",
        _blind_spots(report.blind_spots) if report.blind_spots else "",
        "</main>\n",
        f"<footer>\n<p>{name} {_text(version)}</p>\n{links(telemetry_path)}</footer>\n",
    )
    return document(f"{report.verdict.rstrip('.')} · {title}", "".join(parts))


def _findings(report: Report) -> str:
    shown = "".join(map(_finding, report.findings[:_MOST]))
    more = len(report.findings) - _MOST
    rest = _text(f"And {plural(more, 'finding')} more: `socket-state-exporter explain --json` lists all.")
    return (
        '<section aria-labelledby="findings">\n'
        f'<h2 id="findings" class="{_urgency(report)}">{_text(report.verdict.rstrip("."))}</h2>\n'
        f"{shown}{f'<p>{rest}</p>' if more > 0 else ''}</section>\n"
    )


def _urgency(report: Report) -> str:
    if report.states is None or report.number(Severity.CRITICAL):
        return Severity.CRITICAL.value
    if report.urgent:
        return Severity.WARNING.value
    return Severity.NOTE.value if report.blind_spots else "fine"


def _finding(finding: Finding) -> str:
    severity = finding.severity.value
    steps = "".join(f"<li>{_text(step)}</li>\n" for step in finding.advice)
    return (
        f'<article class="{severity}">\n'
        f'<h3><span class="severity">{severity}:</span> {_text(finding.title)}</h3>\n'
        f"<p>{_text(finding.detail)}</p>\n"
        f"{_meter(finding.near) if finding.near else ''}"
        f'<ol aria-label="What to do">{steps}</ol>\n</article>\n'
    )


def _meter(near: Usage) -> str:
    """How full it is. The browser colours it; the words beside it say the same."""
    most = max(near.limit, near.used, 1)
    return (
        f"<p><label>{_text(sentence(usage(near)))}"
        f'<meter max="{most}" value="{near.used}" low="{most // 2}" high="{most * 4 // 5}" optimum="0">'
        f"</meter></label></p>\n"
    )


def _states(states: Mapping[str, int]) -> str:
    rows = "".join(
        f'<tr><th scope="row"><code>{state.upper()}</code></th><td class="number">{count:,}</td>'
        f"<td>{_text(MEANINGS[state])}</td></tr>\n"
        for state, count in states.items()
        if count
    )
    empty = [state.upper() for state, count in states.items() if not count]
    none = f"<p>None in {', '.join(empty)}.</p>\n" if empty else ""
    return (
        '<section aria-labelledby="states">\n<h2 id="states">Sockets by state</h2>\n<table>\n'
        f"<caption>{plural(sum(states.values()), 'TCP socket')} in this network namespace</caption>\n"
        '<thead><tr><th scope="col">State</th><th scope="col" class="number">Sockets</th>'
        '<th scope="col">What it means</th></tr></thead>\n'
        f"<tbody>\n{rows}</tbody>\n</table>\n{none}</section>\n"
    )


def _blind_spots(spots: Sequence[BlindSpot]) -> str:
    items = "".join(f"<li>{_text(f'{what} {remedy}'.strip())}</li>\n" for what, remedy in spots)
    heading = '<h2 id="blind-spots">What could not be seen</h2>\n'
    return f'<section aria-labelledby="blind-spots">\n{heading}<ul>{items}</ul>\n</section>\n'


def _time(at: datetime) -> str:
    return f'<time datetime="{at:%Y-%m-%dT%H:%M:%SZ}">{at:%Y-%m-%d %H:%M:%S} UTC</time>'


def _text(plain: str) -> str:
    """Plain text as HTML; what stands between backquotes as code."""
    return _QUOTED.sub(r"<code>\1</code>", html.escape(plain))
