"""The command: flags, wiring, exit statuses. The only place that builds objects."""

from __future__ import annotations

import argparse
import logging
import platform
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry, Metric, ProcessCollector, generate_latest
from prometheus_client.registry import Collector

from . import __version__, config, logs
from .analysis.fold import Limits
from .exposition.collector import Settings, SocketCollector
from .exposition.metrics import COLLECTOR_SUCCESS
from .exposition.observer import LISTENERS, OWNERS, STATES, Observer, Source
from .sources.facts import Facts
from .sources.kernel import KernelSource, NetlinkError
from .sources.owners import InodeOwners, NoOwners, Owners, PidOwners
from .sources.portable import PsutilSource
from .sources.processes import reader_for
from .sources.walk import Walk

NAME: Final = "socket-state-exporter"
DEFAULT_ADDRESS: Final = ":10066"
DEFAULT_PATH: Final = "/metrics"

DESCRIPTION: Final = "TCP sockets by state, process and remote port, for Prometheus."

OK: Final = 0
FAILED: Final = 1
MISUSED: Final = 2

PARTS: Final = {
    STATES: "sockets by state, process and remote port",
    LISTENERS: "sockets by listening port, and accept queues",
    OWNERS: "which process holds a socket; without it, every process is `unknown`",
}

log = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status: 0 fine, 1 failed, 2 wrong flags or configuration."""
    flags = parser().parse_args(arguments)
    logs.configure(flags.log_level, flags.log_format)
    try:
        settings = config.load(flags.config_file) if flags.config_file else config.Config()
    except config.ConfigError as error:
        print(f"{NAME}: {error}", file=sys.stderr)
        return MISUSED
    for warning in settings.warnings:
        log.warning(warning)
    if flags.config_check:
        print(f"{flags.config_file or 'no configuration file'}: fine")
        return OK
    try:
        collector = build(flags, settings)
    except NetlinkError as error:
        log.error("Sockets cannot be read", extra=logs.fields(error=error))  # noqa: TRY400  # no trace: it is no bug
        return FAILED
    return once(collector) if flags.once else serve(collector, flags)


def parser() -> argparse.ArgumentParser:
    """The flags, which are the README's reference too."""
    flags = argparse.ArgumentParser(
        prog=NAME,
        description=DESCRIPTION,
        allow_abbrev=False,
    )
    flags.add_argument(
        "--version",
        action="version",
        help="print the version and exit",
        version=f"{NAME} {__version__} (Python {platform.python_version()})",
    )
    flags.add_argument(
        "--web.listen-address",
        dest="addresses",
        metavar="ADDRESS",
        action="append",
        help=f"address to serve on, HOST:PORT or :PORT; may be repeated (default {DEFAULT_ADDRESS})",
    )
    flags.add_argument(
        "--web.telemetry-path",
        dest="telemetry_path",
        metavar="PATH",
        default=DEFAULT_PATH,
        help=f"path of the metrics (default {DEFAULT_PATH})",
    )
    flags.add_argument(
        "--web.disable-exporter-metrics",
        dest="exporter_metrics",
        action="store_false",
        help="leave out the exporter's own process_* metrics",
    )
    flags.add_argument(
        "--config.file", dest="config_file", metavar="FILE", help="YAML configuration (default none)"
    )
    flags.add_argument(
        "--config.check",
        dest="config_check",
        action="store_true",
        help="check the configuration file and exit",
    )
    flags.add_argument(
        "--once",
        action="store_true",
        help="print the metrics once, for node_exporter's textfile collector; status 1 if a part failed",
    )
    flags.add_argument(
        "--source",
        metavar="SOURCE",
        choices=("auto", "netlink", "psutil"),
        default="auto",
        help="where to read sockets: netlink, psutil, or auto: netlink on Linux where allowed (default auto)",
    )
    for part, meaning in PARTS.items():
        flags.add_argument(
            f"--collector.{part}",
            dest=part,
            action=argparse.BooleanOptionalAction,
            default=True,
            help=meaning,
        )
    flags.add_argument(
        "--path.procfs",
        dest="procfs",
        metavar="DIR",
        type=Path,
        default=Path("/proc"),
        help="where /proc is mounted (default /proc)",
    )
    flags.add_argument(
        "--log.level",
        dest="log_level",
        metavar="LEVEL",
        choices=tuple(logs.LEVELS),
        default="info",
        help="least level logged: debug, info, warn, error (default info)",
    )
    flags.add_argument(
        "--log.format",
        dest="log_format",
        metavar="FORMAT",
        choices=("logfmt", "json"),
        default="logfmt",
        help="of the log: logfmt or json (default logfmt)",
    )
    return flags


def build(flags: argparse.Namespace, settings: config.Config) -> SocketCollector:
    """A collector that looks at this host. Raises NetlinkError when netlink is demanded but refused."""
    source = choose_source(flags.source)
    log.info("Reading sockets", extra=logs.fields(source=source.name, version=__version__))
    owners = build_owners(flags, source, settings.namer.needs_details)
    observer = Observer(source, owners, settings.namer)
    limits = Limits(settings.max_processes, settings.max_remote_ports, settings.max_series)
    parts = frozenset(part for part in PARTS if getattr(flags, part))
    return SocketCollector(observer.observe, Settings(limits, parts), source.name)


def choose_source(wanted: str) -> Source:
    """The source of sockets by name; `auto` takes psutil where the kernel refuses netlink."""
    if wanted == "psutil" or (wanted == "auto" and sys.platform != "linux"):
        return PsutilSource()
    kernel = KernelSource()
    try:
        kernel.probe()
    except NetlinkError as error:
        if wanted == "netlink":
            raise
        log.warning("Netlink is refused, using psutil", extra=logs.fields(error=error))
        return PsutilSource()
    return kernel


def build_owners(flags: argparse.Namespace, source: Source, details: bool) -> Owners:
    """What finds the processes behind the sockets of this source."""
    if not flags.owners:
        return NoOwners()
    facts = Facts(reader_for(flags.procfs), details)
    return PidOwners(facts) if source.name == PsutilSource.name else InodeOwners(Walk(flags.procfs), facts)


def once(collector: SocketCollector) -> int:
    """Prints the metrics in the text format; 1 when a part failed and something is missing."""
    collected = Collected(list(collector.collect()))
    sys.stdout.write(generate_latest(collected).decode())
    return OK if collected.complete() else FAILED


class Collected(Collector):
    """Families that have been collected, in the shape that the encoder takes."""

    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> list[Metric]:
        return self._families

    def complete(self) -> bool:
        """Whether no part of the scrape failed."""
        success = (family for family in self._families if family.name == COLLECTOR_SUCCESS.name)
        return all(sample.value for family in success for sample in family.samples)


def serve(collector: SocketCollector, flags: argparse.Namespace) -> int:
    """Serves until told to stop; 1 when an address cannot be had."""
    # Only who serves pays for the server: a third of a second and 5 MiB.
    from .exposition import application, server

    registry = CollectorRegistry(auto_describe=False)
    registry.register(collector)
    if flags.exporter_metrics:
        ProcessCollector(registry=registry)
    try:
        app = application.Application(
            registry, telemetry_path=flags.telemetry_path, title=NAME, description=DESCRIPTION
        )
        listeners = [server.listen(address) for address in flags.addresses or [DEFAULT_ADDRESS]]
    except ValueError as error:
        print(f"{NAME}: {error}", file=sys.stderr)
        return MISUSED
    except OSError as error:
        log.error(str(error))  # noqa: TRY400  # no trace: it is no bug
        return FAILED
    server.serve(app, listeners)
    return OK
