"""A print server with Windows, of whose API only the results are simulated, and its windows_exporter."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from typing import Any, Final

from exporter.collection.interfaces import HostReaders
from exporter.collection.tracker import SocketTracker
from exporter.metrics.cardinality import SeriesLimits
from exporter.metrics.collector import SocketCollector
from exporter.metrics.text_format import encode
from exporter.model.host import FdUsage
from exporter.naming.rules import Namer
from exporter.owners.pid_resolver import PidOwnerResolver
from exporter.owners.process_cache import ProcessCache
from exporter.windows.dynamic_ports import DynamicPortReader
from exporter.windows.iphlpapi_source import IphlpapiSource
from exporter.windows.process_table import ProcessEntry, ProcessTable
from exporter.windows.registry import TcpParameters
from exporter.windows.service_tags import ServiceOwnerKeys
from exporter.windows.services import ServiceTable
from exporter.windows.tcp_rows import TCP4_LAYOUT, TCP6_LAYOUT, TcpRows
from exporter.windows.tcp_statistics import TcpStatisticsReader
from exporter.windows.windows_limits import WindowsLimitsReader
from exporter.windows.windows_processes import WindowsProcessReader

from ..windows.rows import CLOSE_WAIT, ESTABLISHED, LISTEN, TIME_WAIT, Row, tcp4_table, tcp6_table
from .configuration import Targets
from .ports import HOME

NAME: Final = "print1"
EXPORTER: Final = f"{NAME}:10066"
WINDOWS_EXPORTER: Final = f"{NAME}:9182"

_STARTED: Final = 133_000_000_000_000_000
_SPOOLER: Final = 1234
_DNS: Final = 900
_SYSTEM: Final = 4
_LEAKED: Final = 5_000
_GROWTH: Final = 20
_HERE: Final = "10.0.0.1"
_PRINTER: Final = "10.0.0.31"
_FIRST_PORT: Final = 49_152
_RPC_PORT: Final = 65_100

PRINTERS: Final = """\
windows_exporter_collector_success{collector="printer"} 1
windows_printer_status{printer="Floor 1",status="Idle"} 1
windows_printer_status{printer="Floor 1",status="Offline"} 0
windows_printer_status{printer="Floor 2",status="Idle"} 0
windows_printer_status{printer="Floor 2",status="Offline"} 1
windows_printer_job_status{printer="Floor 2",status="OK"} 7
windows_printer_job_status{printer="Floor 2",status="Error"} 2
"""
"""Metrics of windows_exporter's collector `printer`."""


class PrintServer:
    """The exporter on a print server whose spooler leaks connections to a printer: more at each scrape."""

    def __init__(self) -> None:
        self._scrapes = 0
        processes, services = ProcessTable(self._processes, max_age_seconds=0.0), ServiceTable(_services)
        source = IphlpapiSource(processes.entries, [self._tcp4, self._tcp6], lambda: ())
        limits = WindowsLimitsReader(DynamicPortReader(_run_netsh), lambda: TcpParameters(None, None))
        numbers = count(1)
        readers = HostReaders(
            read_limits=limits.read,
            read_counters=TcpStatisticsReader(lambda _family: [next(numbers)] * 15).read,
            read_fd_usage=_fd_usage,
            read_handle_count=lambda pid: processes.entry(pid).handles,
        )
        reader = WindowsProcessReader(processes, services, ServiceOwnerKeys(services))
        resolver = PidOwnerResolver(ProcessCache(reader, details=False))
        tracker = SocketTracker(source, resolver, readers, Namer())
        self._collector = SocketCollector(tracker.snapshot, SeriesLimits(100, 50, 2_000), source.name)

    def metrics(self) -> bytes:
        """Return the response to a scrape."""
        self._scrapes += 1
        return encode(self._collector.collect(), open_metrics=False)

    def _processes(self) -> dict[int, ProcessEntry]:
        return {
            _SYSTEM: ProcessEntry("System", _STARTED, 2_000),
            _DNS: ProcessEntry("svchost.exe", _STARTED, 300),
            _SPOOLER: ProcessEntry("spoolsv.exe", _STARTED, 11_000 + _GROWTH * self._scrapes),
        }

    def _tcp4(self) -> TcpRows:
        leaked = _LEAKED + _GROWTH * self._scrapes
        rows = [
            Row(LISTEN, "0.0.0.0", 445, pid=_SYSTEM),
            Row(LISTEN, "0.0.0.0", 135, pid=_DNS),
            Row(LISTEN, "0.0.0.0", _RPC_PORT, pid=_SPOOLER),
            Row(ESTABLISHED, _HERE, _RPC_PORT, "10.0.0.50", 50_001, _SPOOLER, _STARTED),
            Row(ESTABLISHED, _HERE, 445, "10.0.0.50", 50_000, _SYSTEM, _STARTED),
            Row(CLOSE_WAIT, _HERE, 445, "10.0.0.51", 50_000, _SYSTEM, _STARTED),
            Row(ESTABLISHED, _HERE, 65_000, "10.0.0.53", 53, _DNS, _STARTED),
            *(Row(TIME_WAIT, _HERE, 64_000 + number, "10.0.0.53", 53) for number in range(40)),
            *(
                Row(CLOSE_WAIT, _HERE, _FIRST_PORT + number, _PRINTER, 9100, _SPOOLER, _STARTED + number)
                for number in range(leaked)
            ),
        ]
        return TcpRows(TCP4_LAYOUT, tcp4_table(*rows))

    def _tcp6(self) -> TcpRows:
        return TcpRows(TCP6_LAYOUT, tcp6_table())


def _services() -> dict[int, list[str]]:
    return {_SPOOLER: ["Spooler"], _DNS: ["Dnscache"]}


def _run_netsh(_family: str) -> str:
    return "Start Port      : 49152\nNumber of Ports : 16384\n"


def _fd_usage(_pid: int) -> FdUsage:
    raise FileNotFoundError("Windows has no /proc")


@contextmanager
def print_server(exporter_port: int, windows_exporter_port: int) -> Iterator[Targets]:
    """Serve both exporters, and yield them as targets of Prometheus."""
    server = PrintServer()
    with _serving(exporter_port, server.metrics), _serving(windows_exporter_port, PRINTERS.encode):
        yield {
            "socket-state-exporter": [_target(exporter_port, EXPORTER)],
            "windows": [_target(windows_exporter_port, WINDOWS_EXPORTER)],
        }


def _target(port: int, instance: str) -> dict[str, Any]:
    return {"targets": [f"{HOME}:{port}"], "labels": {"instance": instance}}


@contextmanager
def _serving(port: int, respond: Callable[[], bytes]) -> Iterator[None]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            body = respond()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the name in the base class
            pass

    with ThreadingHTTPServer((HOME, port), Handler) as httpd:
        httpd.daemon_threads = True
        thread = threading.Thread(target=httpd.serve_forever, args=(0.1,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            httpd.shutdown()
            thread.join()
