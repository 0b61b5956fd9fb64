"""The flags of the commands, which are the README's reference too."""

from __future__ import annotations

import argparse
import platform
from pathlib import Path
from typing import Final

from . import __version__
from .log import LEVELS
from .model.collectors import COLLECTOR_HELP, CollectorName

NAME: Final = "socket-state-exporter"
DEFAULT_ADDRESS: Final = ":10066"
DEFAULT_PATH: Final = "/metrics"

DESCRIPTION: Final = "TCP sockets by state, process and remote port, for Prometheus."

EXPLAIN: Final = "explain"
"""The first word of the second command. A word, and no subparser of argparse: there, flags in front of the
word are silently overruled by the defaults of those behind it."""

ASSETS: Final = "assets"
"""The first word of the third."""


def parser() -> argparse.ArgumentParser:
    """The flags of the exporter itself."""
    flags = argparse.ArgumentParser(
        prog=NAME,
        description=DESCRIPTION,
        epilog=f"`{NAME} {EXPLAIN}` looks once and says in words what is wrong; `{NAME} {ASSETS} DIR` writes "
        "out the alert rules, dashboards and units that come with it. Each has a --help of its own.",
        allow_abbrev=False,
    )
    flags.add_argument(
        "--version",
        action="version",
        help="print the version and exit",
        version=f"{NAME} {__version__} (Python {platform.python_version()})",
    )
    _add_web_flags(flags)
    _add_configuration(flags)
    flags.add_argument(
        "--config.check",
        dest="config_check",
        action="store_true",
        help="check the configuration files and exit",
    )
    flags.add_argument(
        "--once",
        action="store_true",
        help="print the metrics once, for node_exporter's textfile collector; status 1 if a part failed",
    )
    _add_source(flags)
    for collector, text in COLLECTOR_HELP.items():
        flags.add_argument(
            f"--collector.{collector}",
            dest=collector.value,
            action=argparse.BooleanOptionalAction,
            default=True,
            help=text,
        )
    _add_procfs(flags)
    _add_log_flags(flags, level="info")
    return flags


def explain_parser() -> argparse.ArgumentParser:
    """The flags of `explain`, behind that word."""
    flags = argparse.ArgumentParser(
        prog=f"{NAME} {EXPLAIN}",
        description="Looks at the TCP sockets of this host once, and says what is wrong and what to do.",
        epilog="Exit status: 0 nothing to worry about, 1 something, 2 the sockets could not be read.",
        allow_abbrev=False,
    )
    flags.add_argument("--json", action="store_true", help="print a JSON object, for other programs")
    _add_configuration(flags)
    _add_source(flags)
    _add_procfs(flags)
    _add_log_flags(flags, level="warn")
    flags.set_defaults(**dict.fromkeys(CollectorName, True))
    return flags


def assets_parser() -> argparse.ArgumentParser:
    """The flags of `assets`, behind that word."""
    flags = argparse.ArgumentParser(
        prog=f"{NAME} {ASSETS}",
        description="Writes out what comes with the exporter: alert rules, runbooks, dashboards, the unit.",
        epilog="Run again after an upgrade: what was changed there is kept, the new version laid beside it.",
        allow_abbrev=False,
    )
    flags.add_argument("directory", metavar="DIR", type=Path, help="where to write; made where it is missing")
    flags.add_argument("--overwrite", action="store_true", help="also replace files that were changed there")
    return flags


def _add_web_flags(flags: argparse.ArgumentParser) -> None:
    where = flags.add_mutually_exclusive_group()
    where.add_argument(
        "--web.listen-address",
        dest="addresses",
        metavar="ADDRESS",
        action="append",
        help=f"address to serve on, HOST:PORT or :PORT; may be repeated (default {DEFAULT_ADDRESS})",
    )
    where.add_argument(
        "--web.systemd-socket",
        dest="systemd_socket",
        action="store_true",
        help="serve on the sockets that systemd passes, instead of an address",
    )
    flags.add_argument(
        "--web.config.file",
        dest="web_config_file",
        metavar="FILE",
        help="YAML with TLS, users, headers and rate limit, as exporter-toolkit has it (default none)",
    )
    flags.add_argument(
        "--web.enable-lifecycle",
        dest="lifecycle",
        action="store_true",
        help="let POST to /-/reload read the configuration files again, as SIGHUP does",
    )
    flags.add_argument(
        "--web.telemetry-path",
        dest="telemetry_path",
        metavar="PATH",
        default=DEFAULT_PATH,
        help=f"path of the metrics (default {DEFAULT_PATH})",
    )
    flags.add_argument(
        "--web.disable-status-page",
        dest="status_page",
        action="store_false",
        help="show links only at /, instead of what `explain` says",
    )
    flags.add_argument(
        "--web.disable-exporter-metrics",
        dest="exporter_metrics",
        action="store_false",
        help="leave out the exporter's own process_* metrics",
    )


def _add_configuration(flags: argparse.ArgumentParser) -> None:
    flags.add_argument(
        "--config.file", dest="config_file", metavar="FILE", help="YAML configuration (default none)"
    )


def _add_source(flags: argparse.ArgumentParser) -> None:
    flags.add_argument(
        "--source",
        metavar="SOURCE",
        choices=("auto", "netlink", "psutil"),
        default="auto",
        help="where to read sockets: netlink, psutil, or auto: netlink on Linux where allowed (default auto)",
    )


def _add_procfs(flags: argparse.ArgumentParser) -> None:
    flags.add_argument(
        "--path.procfs",
        dest="procfs",
        metavar="DIR",
        type=Path,
        default=Path("/proc"),
        help="where /proc is mounted (default /proc)",
    )


def _add_log_flags(flags: argparse.ArgumentParser, level: str) -> None:
    flags.add_argument(
        "--log.level",
        dest="log_level",
        metavar="LEVEL",
        choices=tuple(LEVELS),
        default=level,
        help=f"least level logged: debug, info, warn, error (default {level})",
    )
    flags.add_argument(
        "--log.format",
        dest="log_format",
        metavar="FORMAT",
        choices=("logfmt", "json"),
        default="logfmt",
        help="of the log: logfmt or json (default logfmt)",
    )
