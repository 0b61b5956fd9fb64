"""HTML pages: what they have in common, and the page of links."""

from __future__ import annotations

import base64
import hashlib
import html
from typing import Final
from urllib.parse import quote

PROJECT_URL: Final = "https://github.com/socket-state-exporter/socket-state-exporter"

# Colours have a contrast of 4.5 at least with what they stand on (tests/end_to_end/test_browser.py).
_STYLE: Final = """
:root { color-scheme: light dark; --text: #1c2126; --quiet: #59636e; --paper: #fff; --line: #d5dae0;
  --card: #f6f8fa; --link: #0b57d0; --critical: #b3261e; --warning: #8a5300; --note: #3d5a80;
  --fine: #1b6e3c; }
@media (prefers-color-scheme: dark) {
  :root { --text: #e3e6e9; --quiet: #a2abb5; --paper: #15181c; --line: #363d45;
    --card: #1d2228; --link: #8ab4f8; --critical: #ff8f85; --warning: #f0bb55; --note: #9cbfe8;
    --fine: #7fd49b; }
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
.fine { color: var(--fine); }
meter { width: 100%; height: .8rem; margin-top: .15rem; display: block; }
table { border-collapse: collapse; width: 100%; }
caption { text-align: left; color: var(--quiet); padding-bottom: .4rem; }
th, td { padding: .35rem 1.25rem .35rem 0; text-align: left; vertical-align: top; font-weight: 400;
  border-top: 1px solid var(--line); }
thead th { border-top: 0; color: var(--quiet); font-size: .875rem; }
td:last-child { width: 100%; }
th[scope="row"], td.number { white-space: nowrap; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; }
code { font: .9em ui-monospace, monospace; }
@media (min-width: 40rem) { code { white-space: nowrap; } }
footer { margin-top: 2.5rem; padding-top: .75rem; border-top: 1px solid var(--line); }
nav ul { display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; margin: 0; padding: 0; list-style: none; }
nav li { margin: 0; }
"""

_STYLE_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

POLICY: Final = f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; form-action 'none'"
"""Content-Security-Policy: nothing is loaded or run. What got through the escaping would still do nothing."""


def document(title: str, body: str) -> str:
    """A page. title: plain text. body: HTML, with one main element."""
    return (
        '<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta name="color-scheme" content="light dark"><title>{html.escape(title)}</title>\n'
        f"<style>{_STYLE}</style></head>\n<body>\n{body}</body>\n</html>\n"
    )


def links(telemetry_path: str) -> str:
    """A nav element with the other pages. Links are relative, to work behind a proxy that adds a prefix."""
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


def landing(title: str, description: str, telemetry_path: str) -> str:
    """A page that tells nothing but where the others are. title, description: plain text."""
    heading = f"<h1>{html.escape(title)}</h1>\n<p>{html.escape(description)}</p>\n"
    return document(title, f"<main>\n{heading}{links(telemetry_path)}</main>\n")
