"""Command-line flags. The README's reference, the man page and the completions are generated from them."""

from __future__ import annotations

import argparse
import platform
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from . import __version__
from .log import LEVELS
from .model.collectors import COLLECTOR_HELP, CollectorName
from .output import print_text

NAME: Final = "socket-state-exporter"
DEFAULT_ADDRESS: Final = ":10066"
DEFAULT_PATH: Final = "/metrics"

DESCRIPTION: Final = "TCP sockets by state, process and remote port, for Prometheus."

EXPLAIN: Final = "explain"
"""Name of the `explain` subcommand. Not an argparse subparser: its defaults would silently override flags
given before the name."""

ASSETS: Final = "assets"
"""Name of the `assets` subcommand."""

SERVICE: Final = "service"
"""Name of the `service` subcommand, of Windows."""

SERVICE_ACTIONS: Final = ("install", "remove", "run")


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the exporter's own flags."""
    flags = argparse.ArgumentParser(
        prog=NAME,
        description=DESCRIPTION,
        epilog=f"`{NAME} {EXPLAIN}` inspects this host once and reports problems; `{NAME} {ASSETS} DIR` "
        f"installs the bundled alert rules, dashboards and systemd unit; `{NAME} {SERVICE} install` installs "
        "the Windows service. Each subcommand has its own --help.",
        allow_abbrev=False,
        add_help=False,
    )
    _add_help_flag(flags)
    flags.add_argument(
        "--version",
        action=_PrintAction,
        help="print the version and exit",
        render=lambda _: f"{NAME} {__version__} (Python {platform.python_version()})\n",
    )
    _add_web_flags(flags)
    _add_config_flag(flags)
    flags.add_argument(
        "--config.check",
        dest="config_check",
        action="store_true",
        help="check the configuration files and exit",
    )
    flags.add_argument(
        "--once",
        action="store_true",
        help="print the metrics once and exit (for the textfile collector); status 1 if nothing is readable",
    )
    _add_source_flag(flags)
    for collector, text in COLLECTOR_HELP.items():
        flags.add_argument(
            f"--collector.{collector}",
            dest=collector.value,
            action=argparse.BooleanOptionalAction,
            default=True,
            help=text,
        )
    _add_procfs_flag(flags)
    _add_log_flags(flags, level="info")
    flags.add_argument(
        "--log.file",
        dest="log_file",
        metavar="FILE",
        type=Path,
        help="log to FILE, not to standard error; FILE.1 to FILE.4 are earlier logs of 5 MiB (default none)",
    )
    return flags


def build_explain_parser() -> argparse.ArgumentParser:
    """Return the parser of the flags of `explain`."""
    flags = argparse.ArgumentParser(
        prog=f"{NAME} {EXPLAIN}",
        description="Inspects the TCP sockets of this host once and reports problems with suggested fixes.",
        epilog="Exit status: 0 no problems found, 1 problems found, 2 sockets could not be read, or the "
        "report not written.",
        allow_abbrev=False,
        add_help=False,
    )
    _add_help_flag(flags)
    flags.add_argument("--json", action="store_true", help="print the report as JSON")
    _add_config_flag(flags)
    _add_source_flag(flags)
    _add_procfs_flag(flags)
    _add_log_flags(flags, level="warn")
    flags.set_defaults(**dict.fromkeys(CollectorName, True))
    return flags


def build_assets_parser() -> argparse.ArgumentParser:
    """Return the parser of the flags of `assets`."""
    flags = argparse.ArgumentParser(
        prog=f"{NAME} {ASSETS}",
        description="Writes the bundled alert rules, runbooks, dashboards and systemd unit.",
        epilog="Run again after an upgrade. Locally modified files are kept; the new version is written as "
        "FILE.new.",
        allow_abbrev=False,
        add_help=False,
    )
    _add_help_flag(flags)
    flags.add_argument("directory", metavar="DIR", type=Path, help="target directory, created if missing")
    flags.add_argument("--overwrite", action="store_true", help="replace locally modified files too")
    return flags


def build_service_parser() -> argparse.ArgumentParser:
    """Return the parser of the flags of `service`. Flags that it does not know are those of the exporter."""
    flags = argparse.ArgumentParser(
        prog=f"{NAME} {SERVICE}",
        description="Installs or removes the exporter as a Windows service; as administrator.",
        epilog="All other flags are those of the exporter, and are passed to the service. Without any, a "
        "service that is installed already keeps its own. Its log is socket-state-exporter.log in the folder "
        "socket-state-exporter of ProgramData, unless --log.file is set; warnings and "
        "errors are in the Event Log too.",
        allow_abbrev=False,
        add_help=False,
    )
    _add_help_flag(flags)
    flags.add_argument(
        "action",
        metavar="ACTION",
        choices=SERVICE_ACTIONS,
        help="install: install or change the service, and start it; remove: stop and delete it, and its log "
        "in ProgramData; run: serve as the service; for the service manager",
    )
    flags.add_argument(
        "--service.account",
        dest="account",
        metavar="ACCOUNT",
        help="account of the service, one without a password (default NT AUTHORITY\\LocalService)",
    )
    flags.add_argument(
        "--service.firewall",
        dest="firewall",
        action="store_true",
        help="allow inbound connections to the exporter in the Windows firewall",
    )
    flags.add_argument(
        "--service.no-start",
        dest="start",
        action="store_false",
        help="install the service without starting it",
    )
    return flags


class _PrintAction(argparse.Action):
    """Prints a text and exits. Unlike argparse's actions it raises OutputError if the text is not written.

    render: returns the text; takes the parser.
    """

    def __init__(
        self,
        option_strings: Sequence[str],
        dest: str,
        *,
        help: str,  # noqa: A002  # argparse passes it by this name
        render: Callable[[argparse.ArgumentParser], str],
    ) -> None:
        super().__init__(option_strings, dest, nargs=0, default=argparse.SUPPRESS, help=help)
        self._render = render

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        print_text(self._render(parser))
        parser.exit()


def _add_help_flag(flags: argparse.ArgumentParser) -> None:
    flags.add_argument(
        "-h",
        "--help",
        action=_PrintAction,
        help="show this help message and exit",
        render=argparse.ArgumentParser.format_help,
    )


def _add_web_flags(flags: argparse.ArgumentParser) -> None:
    listen = flags.add_mutually_exclusive_group()
    listen.add_argument(
        "--web.listen-address",
        dest="addresses",
        metavar="ADDRESS",
        action="append",
        help=f"address to listen on, HOST:PORT or :PORT; repeatable (default {DEFAULT_ADDRESS})",
    )
    listen.add_argument(
        "--web.systemd-socket",
        dest="systemd_socket",
        action="store_true",
        help="listen on the sockets passed by systemd instead of an address",
    )
    flags.add_argument(
        "--web.config.file",
        dest="web_config_file",
        metavar="FILE",
        help="exporter-toolkit web configuration file: TLS, basic auth, headers, rate limit (default none)",
    )
    flags.add_argument(
        "--web.enable-lifecycle",
        dest="lifecycle",
        action="store_true",
        help="enable POST /-/reload, which reloads the configuration like SIGHUP",
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
        help="serve a plain landing page instead of the status page",
    )
    flags.add_argument(
        "--web.disable-exporter-metrics",
        dest="exporter_metrics",
        action="store_false",
        help="exclude metrics about the exporter process itself (process_*)",
    )


def _add_config_flag(flags: argparse.ArgumentParser) -> None:
    flags.add_argument(
        "--config.file", dest="config_file", metavar="FILE", help="configuration file in YAML (default none)"
    )


def _add_source_flag(flags: argparse.ArgumentParser) -> None:
    flags.add_argument(
        "--source",
        metavar="SOURCE",
        choices=("auto", "netlink", "psutil", "iphlpapi"),
        default="auto",
        help="socket source: netlink (Linux), iphlpapi (Windows), psutil or auto (the system's own where "
        "permitted, default)",
    )


def _add_procfs_flag(flags: argparse.ArgumentParser) -> None:
    flags.add_argument(
        "--path.procfs",
        dest="procfs",
        metavar="DIR",
        type=Path,
        default=Path("/proc"),
        help="procfs mount point (default /proc)",
    )


def _add_log_flags(flags: argparse.ArgumentParser, level: str) -> None:
    flags.add_argument(
        "--log.level",
        dest="log_level",
        metavar="LEVEL",
        choices=tuple(LEVELS),
        default=level,
        help=f"minimum log level: debug, info, warn, error (default {level})",
    )
    flags.add_argument(
        "--log.format",
        dest="log_format",
        metavar="FORMAT",
        choices=("logfmt", "json"),
        default="logfmt",
        help="log format: logfmt or json (default logfmt)",
    )
