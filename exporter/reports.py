"""Reports to the operator: the command `explain`, and the status page of a server."""

from __future__ import annotations

import sys

from . import __version__
from .collection.cache import SnapshotCache
from .diagnosis.finding import DiagnosisInput
from .diagnosis.report import Report, build_report
from .flags import NAME
from .model.privilege import Privilege
from .model.snapshot import Snapshot
from .output import print_text
from .rendering import html, text


def print_report(snapshot: Snapshot, privilege: Privilege, *, as_json: bool) -> int:
    """Print the report on a snapshot. Return the exit status. Raises OutputError.

    privilege: that of the exporter.
    """
    report = _build_report(snapshot, privilege, with_addresses=True)
    print_text(text.render_json(report) if as_json else text.render_text(report))
    return text.exit_status(report)


def build_status_page(
    cache: SnapshotCache, privilege: Privilege, telemetry_path: str, *, with_addresses: bool
) -> str:
    """Return the status page of a snapshot that is at most a few seconds old.

    privilege: that of the exporter. with_addresses: whether it contains remote addresses.
    """
    snapshot, taken_at = cache.get()
    report = _build_report(snapshot, privilege, with_addresses=with_addresses)
    return html.render_status_page(
        report, taken_at, title=NAME, version=__version__, telemetry_path=telemetry_path
    )


def _build_report(snapshot: Snapshot, privilege: Privilege, *, with_addresses: bool) -> Report:
    return build_report(
        DiagnosisInput(snapshot, with_addresses, windows=sys.platform == "win32", privilege=privilege)
    )
