"""Row on print servers: printers as windows_exporter reports them, with the CLOSE_WAIT of the spooler."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from exporter.metrics import catalog

from .. import rules
from ..colors import CLOSE_WAIT, CRITICAL, NEUTRAL, OK, UNKNOWN, steps
from ..dashboard import Row, collapsed_rows, process_variable, row
from ..panels import SHORT, Json, color_by_series, stat, text_panel, timeseries, value_mapping
from ..queries import SELECTED_PROCESS, Query, selector
from ..tables import Column, table

_ABOUT: Final = (Path(__file__).parent / "print_server.md").read_text(encoding="utf-8")
_SPOOLER: Final = "spoolsv"

# Gauges of https://github.com/prometheus-community/windows_exporter/blob/master/docs/collector.printer.md.
# windows_printer_job_count is none: it counts the jobs since the last reset, not those that wait.
_STATUS: Final = "windows_printer_status"
_JOBS: Final = "windows_printer_job_status"
_SUCCESS: Final = 'windows_exporter_collector_success{collector="printer"}'
_READY: Final = 'status=~"Idle|Printing|Warmup"'
_NOT_READY: Final = 'status!~"Idle|Printing|Warmup"'


def print_server_variable() -> Json:
    """Return the variable for the process of the row, by default the print spooler."""
    return process_variable(
        "print server process", "The process whose sockets the row `Print server` displays.", _SPOOLER
    )


def print_server_row() -> Row:
    """Return the row, which is collapsed: most hosts are no print servers."""
    about = text_panel(
        "About print servers",
        "The source of these panels, and the conclusions from them.",
        _ABOUT.replace("RUNBOOK", rules.runbook_url("CloseWaitStuck")),
    )
    return collapsed_rows(
        "Print server",
        row(10, (9, about), (4, _collector()), (11, _printers_table())),
        row(9, (8, _close_wait_and_jobs()), (8, _not_ready()), (8, _close_wait_by_port())),
    )


def _with_host(series: str) -> str:
    """Return the series with a label `host`: the instance without its port."""
    return f'label_replace({series}, "host", "$1", "instance", "(.+?)(:[0-9]+)?")'


def _on_selected_hosts(series: str) -> str:
    """Return the series of another exporter on the selected hosts, with the label `host`."""
    hosts = _with_host(selector(catalog.SOCKET_EXPORTER_BUILD_INFO))
    return f"({_with_host(series)} and on (host) {hosts})"


def _collector() -> Json:
    states = {"0": ("fails", CRITICAL), "1": ("works", OK)}
    return stat(
        "Printer collector",
        "Whether windows_exporter can read the printers. It fails while the spooler hangs or is stopped. Not "
        "scraped: no windows_exporter with this collector on the selected hosts.",
        f"min({_on_selected_hosts(_SUCCESS)})",
        SHORT,
        thresholds=steps(base=NEUTRAL),
        mappings=value_mapping(states),
        no_value="not scraped",
    )


def _printers_table() -> Json:
    labels = {"host": "Host", "printer": "Printer", "status": "Status"}
    printers = f"max by ({', '.join(labels)}) ({_on_selected_hosts(f'{_STATUS} == 1')})"

    def jobs(matcher: str) -> str:
        waiting = f"sum by (host, printer) ({_on_selected_hosts(_JOBS + matcher)})"
        return f"{printers} * on (host, printer) group_left () {waiting} or {printers} * 0"

    return table(
        "Printers",
        "Printers by windows_exporter's collector `printer`, with the print jobs that wait, and those whose "
        "status is not OK. Empty where it is not scraped.",
        labels,
        [Column("Jobs", jobs("")), Column("Not OK", jobs('{status!="OK"}'))],
    )


def _close_wait_and_jobs() -> Json:
    sockets = selector(catalog.SOCKET_STATES, 'state="close_wait"', SELECTED_PROCESS)
    return timeseries(
        "CLOSE_WAIT and print jobs",
        "Connections in CLOSE_WAIT of the selected process, and print jobs that wait. Both grow: the process "
        "hangs. Only CLOSE_WAIT grows: it leaks.",
        [
            Query(f"sum by (host) ({_with_host(sockets)})", "CLOSE_WAIT of $process on {{host}}"),
            Query(f"sum by (host) ({_on_selected_hosts(_JOBS)})", "print jobs on {{host}}"),
        ],
        SHORT,
        color=CLOSE_WAIT,
        alerts=["CloseWaitGrowing"],
    )


def _not_ready() -> Json:
    ready, not_ready = f"{_STATUS}{{{_READY}}}", f"{_STATUS}{{{_NOT_READY}}}"
    return timeseries(
        "Printers by status",
        "Number of printers that are offline, stopped, or in another status than idle, printing and warm-up; "
        "and of the ready ones. Empty where windows_exporter is not scraped.",
        [
            Query(f"sum by (status) ({_on_selected_hosts(not_ready)})", "{{status}}"),
            Query(f"sum({_on_selected_hosts(ready)})", "ready"),
        ],
        SHORT,
        stack=True,
        overrides=color_by_series(
            {"ready": "green", "Offline": "dark-orange", "Stopped Printing": "orange", "Unknown": UNKNOWN}
        ),
    )


def _close_wait_by_port() -> Json:
    series = selector(catalog.SOCKET_CLOSE_WAIT_SOCKETS, SELECTED_PROCESS)
    return timeseries(
        "CLOSE_WAIT by port",
        "Connections in CLOSE_WAIT of the selected process by direction and port. Outbound: 9100 (raw), 515 "
        "(LPR) and 631 (IPP) are printers. Inbound: clients of the print server.",
        [Query(f"sum by (direction, port) ({series})", "{{direction}} port {{port}}")],
        SHORT,
        color=CLOSE_WAIT,
        alerts=["CloseWaitStuck"],
    )
