"""Command-line entry points: they build all objects, connect them, and return exit statuses."""

from __future__ import annotations

import argparse
import logging
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, ProcessCollector

from . import __version__, assets
from .collection.cache import SnapshotCache
from .collection.deadline import run_with_deadline
from .collection.host_totals import HostTotals
from .collection.interfaces import HostReaders, SocketSource
from .collection.tracker import SocketTracker
from .config.exporter_config import Config
from .config.strict_yaml import ConfigError
from .flags import (
    ASSETS,
    DEFAULT_ADDRESS,
    DESCRIPTION,
    EXPLAIN,
    NAME,
    build_assets_parser,
    build_explain_parser,
    build_parser,
)
from .http import systemd
from .http.middleware import WebConfig, WebConfigHolder, WebConfigMiddleware
from .log import configure_logging, fields
from .metrics import catalog
from .metrics.cardinality import SeriesLimits
from .metrics.collector import SocketCollector
from .metrics.process_usage_metrics import ProcessUsageCollector
from .metrics.text_format import encode
from .model.collectors import CollectorName
from .model.snapshot import Snapshot, build_empty_partial_snapshot
from .netlink.source import NetlinkSource
from .netlink.transport import NetlinkError
from .output import OutputError, print_bytes, print_text
from .owners.resolver import NullOwnerResolver, OwnerResolver
from .portable.process_usage import read_own_usage
from .reload import ConfigReloader
from .rendering import text
from .reports import build_status_page, print_report
from .runtime import freeze_startup_objects, raise_fd_limit
from .system import build_host_readers, build_owner_resolver, choose_source, read_privilege

if TYPE_CHECKING:
    from .http.scrape import ScrapeCoalescer

MAX_COLLECTION_SECONDS: Final = 30.0
"""Time that `--once` and `explain` wait for a collection, 17 times that of 150,000 sockets through psutil.
After it they print what has been read: a file in /proc can hang."""

EXIT_SUCCESS: Final = 0
EXIT_FAILURE: Final = 1
EXIT_USAGE: Final = 2

logger = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None, stop: threading.Event | None = None) -> int:
    """Run the command. Return its exit status: 0 success, 1 failure, 2 wrong flags or configuration.

    `explain` has exit statuses of its own: see rendering.text.exit_status().

    arguments: command line without the program's name; that of this process by default.
    stop: another thread sets it to stop the server.
    """
    command_line = sys.argv[1:] if arguments is None else arguments
    try:
        return run_command(command_line, stop)
    except OutputError as error:
        print(f"{NAME}: {error}", file=sys.stderr)
        return text.EXIT_UNREADABLE if list(command_line[:1]) == [EXPLAIN] else EXIT_FAILURE


def run_command(command_line: Sequence[str], stop: threading.Event | None = None) -> int:
    """Run the command. Return its exit status. Raises OutputError if standard output is not writable."""
    if list(command_line[:1]) == [ASSETS]:
        return assets.run(build_assets_parser().parse_args(command_line[1:]))
    is_explain = list(command_line[:1]) == [EXPLAIN]
    flags = (
        build_explain_parser().parse_args(command_line[1:])
        if is_explain
        else build_parser().parse_args(command_line)
    )
    reloader = ConfigReloader(flags.config_file, None if is_explain else flags.web_config_file)
    try:
        # `explain` has no flag --log.file.
        configure_logging(flags.log_level, flags.log_format, file=getattr(flags, "log_file", None))
        config, initial_web_config = reloader.read()
    except (ConfigError, OSError) as error:
        print(f"{NAME}: {error}", file=sys.stderr)
        return EXIT_USAGE
    log_warnings(config)
    if not is_explain and flags.config_check:
        for file in filter(None, (flags.config_file or "no configuration file", flags.web_config_file)):
            print_text(f"{file}: OK\n")
        return EXIT_SUCCESS
    try:
        source = choose_source(flags.source, flags.procfs)
    except (NetlinkError, OSError, ValueError) as error:
        logger.error("Cannot read sockets", extra=fields(err=error))  # noqa: TRY400  # no stacktrace: it is no bug
        return text.EXIT_UNREADABLE if is_explain else EXIT_FAILURE
    readers = build_host_readers(flags.procfs)
    tracker = build_tracker(flags, config, source, readers)
    if is_explain:
        snapshot = take_snapshot_in_time(tracker)
        return print_report(snapshot, read_privilege(flags.procfs), as_json=flags.json)
    totals = HostTotals(partial(choose_source, source.name, flags.procfs), readers, lambda: tracker.partial)
    cache = SnapshotCache(tracker.snapshot)
    # Snapshots are cached for the status page only: that of a big host takes megabytes.
    take_snapshot = cache.refresh if flags.status_page and not flags.once else tracker.snapshot
    limits = series_limits(config)
    collector = SocketCollector(
        take_snapshot,
        limits,
        source.name,
        enabled_collectors(flags),
        reload_status=lambda: reloader.status,
        partial=totals.latest,
    )
    if flags.once:
        return print_once(collector)

    scrapes = build_scrapes(collector, source, totals, flags)
    web_config = WebConfigHolder(initial_web_config)

    def apply_config(config: Config, new_web_config: WebConfig) -> None:
        log_warnings(config)
        # In the collection thread, between two collections: none uses parts of both configurations.
        scrapes.submit(partial(tracker.set_namer, config.namer))
        scrapes.submit(partial(collector.set_limits, series_limits(config)))
        web_config.current = new_web_config

    def reload() -> bool:
        with systemd.notify_reloading():
            return reloader.reload(apply_config)

    render_status_page = partial(
        build_status_page,
        cache,
        read_privilege(flags.procfs),
        flags.telemetry_path,
        with_addresses=getattr(flags, CollectorName.EPHEMERAL_ADDRESSES),
    )
    return run_server(scrapes, render_status_page, flags, web_config, reload, stop)


def log_warnings(config: Config) -> None:
    """Log settings that are allowed but unwise."""
    for warning in config.warnings:
        logger.warning(warning)


def series_limits(config: Config) -> SeriesLimits:
    """Return the cardinality limits of the configuration."""
    return SeriesLimits(config.max_processes, config.max_remote_ports, config.max_series)


def build_tracker(
    flags: argparse.Namespace, config: Config, source: SocketSource, readers: HostReaders
) -> SocketTracker:
    """Return the tracker of the sockets of this host."""
    logger.info("Starting socket-state-exporter", extra=fields(source=source.name, version=__version__))
    is_server = not getattr(flags, "once", True)  # `explain` has no flag --once
    resolver: OwnerResolver = NullOwnerResolver()
    dead_fds = None
    if getattr(flags, CollectorName.OWNERS):
        resolver, dead_fds = build_owner_resolver(
            source, flags.procfs, details=config.namer.needs_details, long_running=is_server
        )
    return SocketTracker(
        source,
        resolver,
        readers,
        config.namer,
        enabled_collectors(flags),
        dead_fds=dead_fds,
        long_running=is_server,
    )


def enabled_collectors(flags: argparse.Namespace) -> frozenset[CollectorName]:
    """Return the collectors that the flags enable."""
    return frozenset(collector for collector in CollectorName if getattr(flags, collector))


def print_once(collector: SocketCollector) -> int:
    """Print the metrics in the text format, which is UTF-8 in every locale. Return the exit status.

    It is EXIT_FAILURE if a collector failed and no collector has a sample. Any other output is to be used: it
    contains which collectors failed.
    """
    try:
        families = run_with_deadline(lambda: list(collector.collect()), MAX_COLLECTION_SECONDS)
    except TimeoutError:
        log_timeout()
        families = list(collector.collect_partial(since=-inf))
    print_bytes(encode(families, open_metrics=False))
    name = catalog.SOCKET_SCRAPE_COLLECTOR_SUCCESS.name
    successes = [sample.value for family in families if family.name == name for sample in family.samples]
    has_samples = any(family.samples and catalog.COLLECTOR_BY_METRIC[family.name] for family in families)
    return EXIT_SUCCESS if has_samples or all(successes) else EXIT_FAILURE


def take_snapshot_in_time(tracker: SocketTracker) -> Snapshot:
    """Return a snapshot, or the results so far if the collection takes too long."""
    try:
        return run_with_deadline(tracker.snapshot, MAX_COLLECTION_SECONDS)
    except TimeoutError:
        log_timeout()
        # None if the collection has ended since.
        unfinished = tracker.partial or build_empty_partial_snapshot(0.0)
        return unfinished.snapshot


def log_timeout() -> None:
    """Log that a collection takes too long."""
    logger.error(
        "Collection timed out, using what has been read", extra=fields(timeout=f"{MAX_COLLECTION_SECONDS:g}s")
    )


def listening_sockets(flags: argparse.Namespace) -> list[socket.socket]:
    """Return the sockets to listen on.

    Raises ValueError for a malformed address, OSError for one that is not available.
    """
    from .http import server

    if flags.systemd_socket:
        return systemd.inherited_sockets()
    return [server.listen(address) for address in flags.addresses or [DEFAULT_ADDRESS]]


def build_scrapes(
    collector: SocketCollector, source: SocketSource, totals: HostTotals, flags: argparse.Namespace
) -> ScrapeCoalescer:
    """Return the coalescer of scrapes. With netlink, its first collection has started."""
    # Imported only to serve: importing asyncio takes 10 ms.
    from .http.scrape import CollectorFilter, PartialRefresh, ScrapeCoalescer

    registry = CollectorRegistry(auto_describe=False)
    registry.register(collector)
    if flags.exporter_metrics:
        # prometheus_client reads /proc.
        on_linux = sys.platform == "linux"
        registry.register(
            ProcessCollector(registry=None) if on_linux else ProcessUsageCollector(read_own_usage)
        )
    collector_filter = CollectorFilter(
        tuple(sorted(enabled_collectors(flags) - {CollectorName.OWNERS})), catalog.filter_by_collector
    )
    scrapes = ScrapeCoalescer(
        registry,
        collector_filter,
        collector.collect_partial,
        partial_refresh=PartialRefresh(totals.is_outdated, totals.refresh),
    )
    if source.name == NetlinkSource.name:
        # Not with psutil, where each collection is as expensive as the first.
        scrapes.prefetch()
    return scrapes


def run_server(
    scrapes: ScrapeCoalescer,
    render_status_page: Callable[[], str],
    flags: argparse.Namespace,
    web_config: WebConfigHolder,
    reload: Callable[[], bool],
    stop: threading.Event | None,
) -> int:
    """Serve until a signal stops the server. Return the exit status."""
    # Imported only to serve: importing the server takes 0.1 s and 5 MiB.
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
        logger.error("Cannot listen", extra=fields(err=error))  # noqa: TRY400  # no stacktrace: it is no bug
        return EXIT_FAILURE
    freeze_startup_objects()
    max_connections = raise_fd_limit(DEFAULT_LIMITS.max_connections)
    limits = replace(DEFAULT_LIMITS, max_connections=max_connections)
    handler = WebConfigMiddleware(app, web_config)
    server.serve(handler, sockets, limits, tls=web_config.tls, reload=reload, stop=stop)
    return EXIT_SUCCESS
