"""The commands: wiring and exit statuses. The only place that builds objects."""

from __future__ import annotations

import argparse
import io
import logging
import socket
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, Metric, ProcessCollector, generate_latest
from prometheus_client.registry import Collector

from . import __version__, assets
from .collection.cache import SnapshotCache
from .collection.interfaces import HostReaders, SocketSource
from .collection.tracker import SocketTracker
from .config.exporter_config import Config
from .config.strict_yaml import ConfigError
from .diagnosis import html, text
from .diagnosis.finding import DiagnosisInput
from .diagnosis.report import build_report
from .flags import ASSETS, DEFAULT_ADDRESS, DESCRIPTION, EXPLAIN, NAME, assets_parser, explain_parser, parser
from .http import systemd
from .http.middleware import WebConfig, WebConfigHolder, WebConfigMiddleware
from .log import configure_logging, fields
from .metrics import catalog
from .metrics.cardinality import SeriesLimits
from .metrics.collector import SocketCollector
from .model.collectors import CollectorName
from .model.host import SysctlLimits
from .model.snapshot import Snapshot
from .netlink.source import NetlinkSource
from .netlink.transport import NetlinkError
from .owners.fd_scanner import FdScanner
from .owners.inode_resolver import InodeOwnerResolver
from .owners.pid_resolver import PidOwnerResolver
from .owners.process_cache import ProcessCache, ProcessReader
from .owners.resolver import NullOwnerResolver, OwnerResolver
from .portable.psutil_process import PsutilProcessReader
from .portable.psutil_source import PsutilSource
from .portable.registry import read_registry
from .procfs.fd_usage import read_fd_usage
from .procfs.netstat import read_counters
from .procfs.process_reader import ProcfsProcessReader
from .procfs.sysctl import read_sysctls
from .reload import ConfigReloader
from .runtime import freeze_startup_objects, raise_fd_limit

if TYPE_CHECKING:
    from .http.scrape import ScrapeCoalescer

EXIT_SUCCESS: Final = 0
EXIT_FAILURE: Final = 1
EXIT_USAGE: Final = 2

logger = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status: 0 fine, 1 failed, 2 wrong flags or configuration.

    Of `explain`: see diagnosis.text.exit_status.
    """
    words = sys.argv[1:] if arguments is None else arguments
    if list(words[:1]) == [ASSETS]:
        return install_assets(assets_parser().parse_args(words[1:]))
    explains = list(words[:1]) == [EXPLAIN]
    flags = explain_parser().parse_args(words[1:]) if explains else parser().parse_args(words)
    configure_logging(flags.log_level, flags.log_format)
    reloader = ConfigReloader(flags.config_file, None if explains else flags.web_config_file)
    try:
        settings, web = reloader.read()
    except ConfigError as error:
        print(f"{NAME}: {error}", file=sys.stderr)
        return EXIT_USAGE
    log_warnings(settings)
    if not explains and flags.config_check:
        for file in filter(None, (flags.config_file or "no configuration file", flags.web_config_file)):
            print(f"{file}: fine")
        return EXIT_SUCCESS
    try:
        source = choose_source(flags.source, flags.procfs)
    except NetlinkError as error:
        logger.error("Sockets cannot be read", extra=fields(err=error))  # noqa: TRY400  # no trace: it is no bug
        return text.EXIT_UNREADABLE if explains else EXIT_FAILURE
    tracker = build_tracker(flags, settings, source)
    if explains:
        return run_explain(tracker.snapshot(), flags)
    cache = SnapshotCache(tracker.snapshot)
    # A look is kept for the status page only: that of a big host is megabytes.
    observe = cache.refresh if flags.status_page and not flags.once else tracker.snapshot
    limits = series_limits(settings)
    collector = SocketCollector(
        observe,
        limits,
        source.name,
        enabled_collectors(flags),
        reload_status=lambda: reloader.status,
        partial=lambda: tracker.partial,
    )
    if flags.once:
        return print_once(collector)

    scrapes = build_scrapes(collector, source, flags)
    web_config = WebConfigHolder(web)

    def apply_config(settings: Config, web: WebConfig) -> None:
        log_warnings(settings)
        # Between two collections, so that neither has a part of each configuration.
        scrapes.submit(partial(tracker.set_namer, settings.namer))
        scrapes.submit(partial(collector.set_limits, series_limits(settings)))
        web_config.current = web

    def reload() -> bool:
        with systemd.reloading():
            return reloader.reload(apply_config)

    return run_server(scrapes, partial(render_status_page, cache, flags), flags, web_config, reload)


def install_assets(flags: argparse.Namespace) -> int:
    """Install the bundled files in a directory, and print the outcome. Return the exit status."""
    try:
        report = assets.install_files(flags.directory, assets.bundled_files(), flags.overwrite)
    except OSError as error:
        print(f"{NAME}: {error.filename}: {error.strerror}", file=sys.stderr)
        return EXIT_FAILURE
    print(*report.summary(), sep="\n")
    return EXIT_SUCCESS


def log_warnings(settings: Config) -> None:
    """Logs what is allowed but unwise."""
    for warning in settings.warnings:
        logger.warning(warning)


def series_limits(settings: Config) -> SeriesLimits:
    """How much is shown at most."""
    return SeriesLimits(settings.max_processes, settings.max_remote_ports, settings.max_series)


def build_tracker(flags: argparse.Namespace, settings: Config, source: SocketSource) -> SocketTracker:
    """What looks at this host."""
    logger.info("Reading sockets", extra=fields(source=source.name, version=__version__))
    owners = build_owner_resolver(flags, source, settings.namer.needs_details)
    readers = HostReaders(
        limits=partial(read_limits, flags.procfs),
        counters=partial(read_counters, flags.procfs),
        fd_usage=partial(read_fd_usage, flags.procfs),
    )
    serves = not getattr(flags, "once", True)
    return SocketTracker(
        source, owners, readers, settings.namer, enabled_collectors(flags), long_running=serves
    )


def enabled_collectors(flags: argparse.Namespace) -> frozenset[CollectorName]:
    """The parts of a scrape that are asked for."""
    return frozenset(part for part in CollectorName if getattr(flags, part))


def choose_source(wanted: str, procfs: Path = Path("/proc")) -> SocketSource:
    """The source of sockets by name; `auto` takes psutil where the kernel refuses netlink.

    Raises NetlinkError when netlink is demanded but refused.
    """
    if wanted == "psutil" or (wanted == "auto" and sys.platform != "linux"):
        return PsutilSource(procfs)
    kernel = NetlinkSource()
    try:
        kernel.probe()
    except NetlinkError as error:
        if wanted == "netlink":
            raise
        logger.warning("Netlink is refused, using psutil", extra=fields(err=error))
        return PsutilSource(procfs)
    return kernel


def read_limits(procfs: Path) -> SysctlLimits:
    """Read the limits of this system; none are read on macOS and BSD.

    Of Linux, those of the calling thread's network namespace: /proc/sys/net shows no other, whatever
    /proc it is. Raises OSError when nothing at all can be read.
    """
    if sys.platform == "linux":
        return read_sysctls(procfs)
    elif sys.platform == "win32":  # noqa: RET505  # mypy follows the platform through elif only
        return read_registry()
    else:
        return SysctlLimits()


def process_reader(procfs: Path) -> ProcessReader:
    """Return the reader of process attributes for this system."""
    return ProcfsProcessReader(procfs) if sys.platform == "linux" else PsutilProcessReader()


def build_owner_resolver(flags: argparse.Namespace, source: SocketSource, details: bool) -> OwnerResolver:
    """What finds the processes behind the sockets of this source."""
    if not getattr(flags, CollectorName.OWNERS):
        return NullOwnerResolver()
    processes = ProcessCache(process_reader(flags.procfs), details)
    if source.name == PsutilSource.name:
        return PidOwnerResolver(processes)
    return InodeOwnerResolver(FdScanner(flags.procfs), processes)


def print_once(collector: SocketCollector) -> int:
    """Prints the metrics in the text format; 1 when a part failed and something is missing."""
    collected = StaticCollector(list(collector.collect()))
    sys.stdout.write(generate_latest(collected).decode())
    return EXIT_SUCCESS if collected.complete() else EXIT_FAILURE


class StaticCollector(Collector):
    """Families that have been collected, in the shape that the encoder takes."""

    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> list[Metric]:
        return self._families

    def complete(self) -> bool:
        """Whether no part of the scrape failed."""
        success = (
            family for family in self._families if family.name == catalog.SOCKET_SCRAPE_COLLECTOR_SUCCESS.name
        )
        return all(sample.value for family in success for sample in family.samples)


def run_explain(seen: Snapshot, flags: argparse.Namespace) -> int:
    """Prints what this look means."""
    report = build_report(DiagnosisInput(seen, windows=sys.platform == "win32"))
    # Process names may have letters that this terminal has not.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    sys.stdout.write(text.render_json(report) if flags.json else text.render_text(report))
    return text.exit_status(report)


def render_status_page(cache: SnapshotCache, flags: argparse.Namespace) -> str:
    """Return the status page, of a snapshot that is a few seconds old at most."""
    seen, at = cache.get()
    data = DiagnosisInput(
        seen, getattr(flags, CollectorName.EPHEMERAL_ADDRESSES), windows=sys.platform == "win32"
    )
    return html.status_page(
        build_report(data), at, title=NAME, version=__version__, telemetry_path=flags.telemetry_path
    )


def listening_sockets(flags: argparse.Namespace) -> list[socket.socket]:
    """The sockets to serve on. Raises ValueError for what is no address, OSError for one not to be had."""
    from .http import server

    if flags.systemd_socket:
        return systemd.inherited_sockets()
    return [server.listen(address) for address in flags.addresses or [DEFAULT_ADDRESS]]


def build_scrapes(
    collector: SocketCollector, source: SocketSource, flags: argparse.Namespace
) -> ScrapeCoalescer:
    """Return what runs and shares the collections. The first one starts immediately where that helps."""
    # Imported only to serve: asyncio costs 10 ms.
    from .http.scrape import CollectorFilter, ScrapeCoalescer

    registry = CollectorRegistry(auto_describe=False)
    registry.register(collector)
    if flags.exporter_metrics:
        ProcessCollector(registry=registry)
    collector_filter = CollectorFilter(
        tuple(sorted(enabled_collectors(flags) - {CollectorName.OWNERS})), catalog.filter_by_collector
    )
    scrapes = ScrapeCoalescer(registry, collector_filter, collector.collect_partial)
    if source.name == NetlinkSource.name:
        # With psutil each collection is as expensive as the first.
        scrapes.prefetch()
    return scrapes


def run_server(
    scrapes: ScrapeCoalescer,
    render_status_page: Callable[[], str],
    flags: argparse.Namespace,
    web_config: WebConfigHolder,
    reload: Callable[[], bool],
) -> int:
    """Serve until a signal stops it; return 1 when an address is not available."""
    # Imported only where it is used: the server costs a tenth of a second and 5 MiB.
    from .http import server
    from .http.app import App
    from .http.limits import DEFAULT_LIMITS

    try:
        app = App(
            scrapes,
            telemetry_path=flags.telemetry_path,
            title=NAME,
            description=DESCRIPTION,
            status_page=render_status_page if flags.status_page else None,
            reload=reload if flags.lifecycle else None,
        )
        sockets = listening_sockets(flags)
    except ValueError as error:
        print(f"{NAME}: {error}", file=sys.stderr)
        return EXIT_USAGE
    except OSError as error:
        logger.error(str(error))  # noqa: TRY400  # no trace: it is no bug
        return EXIT_FAILURE
    freeze_startup_objects()
    max_connections = raise_fd_limit(DEFAULT_LIMITS.max_connections)
    limits = replace(DEFAULT_LIMITS, max_connections=max_connections)
    handler = WebConfigMiddleware(app, web_config)
    server.serve(handler, sockets, limits, tls=web_config.tls, reload=reload)
    return EXIT_SUCCESS
