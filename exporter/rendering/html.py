"""HTML: the report as the status page, and the landing page.

No scripts, nothing is loaded from elsewhere, and all text is escaped.
"""

from __future__ import annotations

import base64
import hashlib
import html
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final
from urllib.parse import quote

from ..diagnosis.blind_spots import BlindSpot
from ..diagnosis.finding import Finding, Severity, Usage
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

PROJECT_URL: Final = "https://github.com/socket-state-exporter/socket-state-exporter"

MAX_FINDINGS_SHOWN: Final = 20
"""Maximum number of findings on the status page."""

_CODE: Final = re.compile("`([^`]*)`")

# Colors have a contrast of at least 4.5 with their background (tests/end_to_end/test_browser.py).
_STYLE: Final = """
:root { color-scheme: light dark; --text: #1c2126; --quiet: #59636e; --paper: #fff; --line: #d5dae0;
  --card: #f6f8fa; --link: #0b57d0; --critical: #b3261e; --warning: #8a5300; --note: #3d5a80;
  --ok: #1b6e3c; }
@media (prefers-color-scheme: dark) {
  :root { --text: #e3e6e9; --quiet: #a2abb5; --paper: #15181c; --line: #363d45;
    --card: #1d2228; --link: #8ab4f8; --critical: #ff8f85; --warning: #f0bb55; --note: #9cbfe8;
    --ok: #7fd49b; }
}
body { margin: 0 auto; padding: 1.5rem 1.25rem; max-width: 52rem; background: var(--paper);
  color: var(--text); font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
header, footer { color: var(--quiet); }
header { border-bottom: 1px solid var(--line); }
h1 { margin: 0; font-size: 1.1rem; color: var(--text); }
header p { margin: 0 0 .75rem; }
h2 { margin: 2rem 0 .75rem; font-size: 1.35rem; line-height: 1.3; }
h3 { margin: 0; font-size: 1.05rem; line-height: 1.4; }
a { color: var(--link); }
article { margin: 0 0 1rem; padding: .9rem 1.1rem; background: var(--card); border: 1px solid var(--line);
  border-left: .35rem solid currentcolor; border-radius: .4rem; }
article > * { color: var(--text); }
article p, article ol { margin: .5rem 0 0; }
article ol { padding-left: 1.4rem; }
li + li { margin-top: .25rem; }
.severity { font-size: .8rem; font-weight: 700; letter-spacing: .06em; text-transform: uppercase; }
.critical, .critical .severity { color: var(--critical); }
.warning, .warning .severity { color: var(--warning); }
.note, .note .severity { color: var(--note); }
.ok { color: var(--ok); }
meter { width: 100%; height: .8rem; margin-top: .15rem; display: block; }
table { border-collapse: collapse; width: 100%; }
caption { text-align: left; color: var(--quiet); padding-bottom: .4rem; }
th, td { padding: .35rem 1.25rem .35rem 0; text-align: left; vertical-align: top; font-weight: 400;
  border-top: 1px solid var(--line); }
thead th { border-top: 0; color: var(--quiet); font-size: .875rem; }
td:last-child { width: 100%; }
th[scope="row"], td.number { white-space: nowrap; }
#processes ~ table th[scope="row"] { white-space: normal; width: 100%; }
#processes ~ table td { width: auto; }
#processes ~ table thead th { overflow-wrap: normal; }
@media (min-width: 40rem) { #processes ~ table :is(td, thead th) { white-space: nowrap; } }
table + table { margin-top: 1rem; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; }
code { font: .9em ui-monospace, monospace; }
@media (min-width: 40rem) { code { white-space: nowrap; } }
footer { margin-top: 2.5rem; padding-top: .75rem; border-top: 1px solid var(--line); }
nav ul { display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; margin: 0; padding: 0; list-style: none; }
nav li { margin: 0; }
"""

_STYLE_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

CONTENT_SECURITY_POLICY: Final = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; form-action 'none'"
)
"""Header value that forbids a browser to load or run anything, even if markup were not escaped."""


def render_page(title: str, body: str) -> str:
    """Return an HTML document. title: plain text. body: HTML with one main element."""
    return (
        '<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta name="color-scheme" content="light dark"><title>{html.escape(title)}</title>\n'
        f"<style>{_STYLE}</style></head>\n<body>\n{body}</body>\n</html>\n"
    )


def render_nav(telemetry_path: str) -> str:
    """Return a nav element with links to other pages, which are relative for proxies that add a prefix."""
    targets = {
        "Metrics": f".{quote(telemetry_path)}",
        "Health": "./-/healthy",
        "Readiness": "./-/ready",
        "README": f"{PROJECT_URL}#readme",
    }
    items = "".join(
        f'<li><a href="{html.escape(target)}">{name}</a></li>\n' for name, target in targets.items()
    )
    return f'<nav aria-label="Other pages">\n<ul>{items}</ul>\n</nav>\n'


def render_landing_page(title: str, description: str, telemetry_path: str) -> str:
    """Return a page that consists of links to the others. title, description: plain text."""
    heading = f"<h1>{html.escape(title)}</h1>\n<p>{html.escape(description)}</p>\n"
    return render_page(title, f"<main>\n{heading}{render_nav(telemetry_path)}</main>\n")


def render_status_page(
    report: Report, taken_at: datetime, *, title: str, version: str, telemetry_path: str
) -> str:
    """Return the status page.

    at: time of the snapshot, in UTC.
    title: name of the exporter.
    """
    name, time = _to_html(title), _render_time(taken_at)
    parts = (
        f"<header>\n<h1>{name}</h1>\n<p>The TCP sockets of this host, as of {time}.</p>\n</header>\n",
        "<main>\n",
        _render_findings(report),
        _render_holders(report),
        _render_states(report.states, report.scope) if report.states is not None else "",
        _render_blind_spots(report.blind_spots) if report.blind_spots else "",
        "</main>\n",
        f"<footer>\n<p>{name} {_to_html(version)}</p>\n{render_nav(telemetry_path)}</footer>\n",
    )
    return render_page(f"{report.summary.rstrip('.')} · {title}", "".join(parts))


def _render_findings(report: Report) -> str:
    shown = "".join(map(_render_finding, report.findings[:MAX_FINDINGS_SHOWN]))
    more_count = len(report.findings) - MAX_FINDINGS_SHOWN
    more = _to_html(
        f"{plural(more_count, 'more finding')}: `socket-state-exporter explain --json` lists all."
    )
    return (
        '<section aria-labelledby="findings">\n'
        f'<h2 id="findings" class="{_severity_class(report)}">{_to_html(report.summary.rstrip("."))}</h2>\n'
        f"{shown}{f'<p>{more}</p>' if more_count > 0 else ''}</section>\n"
    )


def _severity_class(report: Report) -> str:
    if report.states is None or report.count(Severity.CRITICAL):
        return Severity.CRITICAL.value
    if report.problem_count:
        return Severity.WARNING.value
    return Severity.NOTE.value if report.blind_spots or report.near_limit_count else "ok"


def _render_finding(finding: Finding) -> str:
    severity = finding.severity.value
    steps = "".join(f"<li>{_to_html(step)}</li>\n" for step in finding.steps)
    return (
        f'<article class="{severity}">\n'
        f'<h3><span class="severity">{severity}:</span> {_to_html(finding.title)}</h3>\n'
        f"<p>{_to_html(finding.detail)}</p>\n"
        f"{_render_usage(finding.usage) if finding.usage else ''}"
        f'<ol aria-label="What to do">{steps}</ol>\n</article>\n'
    )


def _render_usage(usage: Usage) -> str:
    """Return a meter, and the same numbers as its label. The browser chooses the color."""
    maximum = max(usage.limit, usage.used, 1)
    return (
        f"<p><label>{_to_html(capitalize_first(format_usage(usage)))}"
        f'<meter max="{maximum}" value="{usage.used}" low="{maximum // 2}" high="{maximum * 4 // 5}" '
        'optimum="0">'
        f"</meter></label></p>\n"
    )


def _render_holders(report: Report) -> str:
    tables = "".join(
        _render_holder_table(title_text(name, report.time_wait_seconds, windows=report.windows), holders)
        for name, holders in report.holders.items()
        if holders
    )
    if not tables:
        return ""
    heading = '<h2 id="processes">Processes</h2>\n'
    return f'<section aria-labelledby="processes">\n{heading}{tables}</section>\n'


def _render_holder_table(caption: str, holders: Sequence[Holder]) -> str:
    """Return a table. Columns without any value are absent: ages of TIME_WAIT, ports of dead descriptors.

    `Opened` is the upper bound of an age, which only Windows records.
    """
    shown = holders[:MAX_HOLDERS_SHOWN]
    texts_of = {"Port": port_text, "Age of the oldest": age_text, "Opened": opened_text}
    cells = {name: list(map(text_of, shown)) for name, text_of in texts_of.items()}
    columns = {name: texts for name, texts in cells.items() if any(texts)}
    heads = "".join(f'<th scope="col">{name}</th>' for name in columns)
    rows = "".join(
        f'<tr><th scope="row">{_to_html(owner_text(holder))}</th><td class="number">{holder.count:,}</td>'
        + "".join(f"<td>{_to_html(texts[index])}</td>" for texts in columns.values())
        + "</tr>\n"
        for index, holder in enumerate(shown)
    )
    rest = "".join(f"<p>{_to_html(text)}</p>\n" for text in rest_texts(holders))
    return (
        f"<table>\n<caption>{_to_html(caption)}</caption>\n"
        '<thead><tr><th scope="col">Process</th><th scope="col" class="number">Number</th>'
        f"{heads}</tr></thead>\n"
        f"<tbody>\n{rows}</tbody>\n</table>\n{rest}"
    )


def _render_states(states: Mapping[str, int], scope: str) -> str:
    rows = "".join(
        f'<tr><th scope="row"><code>{state.upper()}</code></th><td class="number">{count:,}</td>'
        f"<td>{_to_html(STATE_DESCRIPTIONS[state])}</td></tr>\n"
        for state, count in states.items()
        if count
    )
    empty = [state.upper() for state, count in states.items() if not count]
    none = f"<p>None in {', '.join(empty)}.</p>\n" if empty else ""
    return (
        '<section aria-labelledby="states">\n<h2 id="states">Sockets by state</h2>\n<table>\n'
        f"<caption>{plural(sum(states.values()), 'TCP socket')} {scope}</caption>\n"
        '<thead><tr><th scope="col">State</th><th scope="col" class="number">Sockets</th>'
        '<th scope="col">Meaning</th></tr></thead>\n'
        f"<tbody>\n{rows}</tbody>\n</table>\n{none}</section>\n"
    )


def _render_blind_spots(spots: Sequence[BlindSpot]) -> str:
    items = "".join(f"<li>{_to_html(f'{spot.description} {spot.remedy}'.strip())}</li>\n" for spot in spots)
    heading = '<h2 id="blind-spots">Data that could not be read</h2>\n'
    return f'<section aria-labelledby="blind-spots">\n{heading}<ul>{items}</ul>\n</section>\n'


def _render_time(moment: datetime) -> str:
    return f'<time datetime="{moment:%Y-%m-%dT%H:%M:%SZ}">{moment:%Y-%m-%d %H:%M:%S} UTC</time>'


def _to_html(plain: str) -> str:
    """Return plain text as HTML, with code elements for text between backquotes."""
    return _CODE.sub(r"<code>\1</code>", html.escape(plain))
