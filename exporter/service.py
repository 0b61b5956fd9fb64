"""The subcommand `service`: installs the exporter as a Windows service, removes it, and runs as one.

The service's command line starts the interpreter itself, not the launcher or the interpreter of a virtual
environment: those start a second process, which the service manager would not accept as the service.
"""

from __future__ import annotations

import argparse
import io
import logging
import ntpath
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path, PureWindowsPath
from traceback import format_exc
from typing import TYPE_CHECKING, Final, NoReturn

from .output import describe_import_error
from .windows.api import (
    ERROR_ACCESS_DENIED,
    ERROR_FAILED_SERVICE_CONTROLLER_CONNECT,
    ERROR_SERVICE_DOES_NOT_EXIST,
)
from .windows.console import ConsoleEvents
from .windows.service_host import ServiceHost

if TYPE_CHECKING:
    from .windows.event_log import EventLog

SERVICE_NAME: Final = "socket-state-exporter"
SERVICE_SCRIPT: Final = Path(__file__).parent / "windows" / "start_service.py"

_DESCRIPTION: Final = "Prometheus exporter of TCP sockets by state, process and remote port."
_MAX_PRINTED_CHARACTERS: Final = 10_000
# Of the exporter; not imported, because cli imports everything.
_EXIT_FAILURE: Final = 1
_EXIT_USAGE: Final = 2


def run_service_command(arguments: Sequence[str]) -> int:
    """Run `service ARGUMENTS`. Return the exit status: 0 success, 1 failure, 2 wrong flags or system."""
    is_windows = sys.platform == "win32"
    if is_windows and list(arguments[:1]) == ["run"]:
        return run_as_service(arguments[1:])
    # Not imported before the service manager has its answer.
    from .flags import build_service_parser

    parser = build_service_parser()
    flags, exporter_flags = parser.parse_known_args(arguments)
    if flags.action == "remove" and exporter_flags:
        parser.error(f"unrecognized arguments: {' '.join(exporter_flags)}")
    if not is_windows:
        print(f"{SERVICE_NAME}: `service` is for Windows; this system is {sys.platform}", file=sys.stderr)
        return _EXIT_USAGE
    try:
        if flags.action == "install":
            return install(flags, exporter_flags)
        remove()
    except OSError as error:
        _report_failure(_describe(error))
        return _EXIT_FAILURE
    return 0


def run_as_service(exporter_flags: Sequence[str]) -> int:
    """Serve until the service manager stops the service. Return the exit status."""
    stop = threading.Event()

    def work() -> int:
        # OSError: there is no console, whose events could end the service.
        with suppress(OSError):
            ConsoleEvents(stop=None).install()
        return _serve(exporter_flags, stop)

    host = ServiceHost(SERVICE_NAME, work, stop.set)
    try:
        host.run()
    except OSError as error:
        if getattr(error, "winerror", 0) != ERROR_FAILED_SERVICE_CONTROLLER_CONNECT:
            raise
        print(
            f"{SERVICE_NAME}: only the service manager can start this command (error 1063); use "
            f"`{SERVICE_NAME} service install`, or `{SERVICE_NAME}` to serve in this console",
            file=sys.stderr,
        )
        return _EXIT_FAILURE
    return host.exit_status


def install(flags: argparse.Namespace, exporter_flags: Sequence[str]) -> int:
    """Install the service or change it. Return the exit status. Raises OSError."""
    from .windows import event_log, firewall, service_manager

    existing = service_manager.read_service_command(SERVICE_NAME)
    if existing and not exporter_flags:
        exporter_flags = exporter_flags_of(service_manager.split_command(existing))
    try:
        exporter_flags, ports = complete_exporter_flags(exporter_flags)
    except ValueError as error:
        _report_failure(str(error))
        return _EXIT_USAGE
    if existing:
        service_manager.stop_service(SERVICE_NAME)
    event_log.register_source(SERVICE_NAME)
    log_folder().mkdir(parents=True, exist_ok=True)
    unsupported = service_manager.install_service(
        service_manager.ServiceConfig(
            SERVICE_NAME, _DESCRIPTION, service_command(interpreter(), exporter_flags), flags.account
        )
    )
    if unsupported:
        print(f"{SERVICE_NAME}: this system does not support: {', '.join(unsupported)}", file=sys.stderr)
    if flags.firewall:
        firewall.allow_inbound(SERVICE_NAME, interpreter(), ports)
    if flags.start:
        service_manager.start_service(SERVICE_NAME)
    return 0


def remove() -> None:
    """Stop and delete the service, and what install() and the service have made. Raises OSError."""
    from .windows import event_log, firewall, service_manager

    missing = None
    try:
        service_manager.remove_service(SERVICE_NAME)
    except OSError as error:
        if getattr(error, "winerror", 0) != ERROR_SERVICE_DOES_NOT_EXIST:
            raise
        missing = error
    firewall.remove_rule(SERVICE_NAME)
    event_log.unregister_source(SERVICE_NAME)
    if log_folder().exists():
        shutil.rmtree(log_folder())
    if missing:
        raise missing


def complete_exporter_flags(exporter_flags: Sequence[str]) -> tuple[list[str], set[int]]:
    """Return the flags of the service, which has a log file, and the ports that it listens on.

    Raises ValueError for flags that the exporter does not accept, or that are not for a service.
    """
    from .flags import DEFAULT_ADDRESS, build_parser

    def refuse(message: str) -> NoReturn:
        raise ValueError(message)

    parser = build_parser()
    # Not printed, as it is for the Event Log too.
    parser.error = refuse  # type: ignore[method-assign]  # argparse exits otherwise
    flags = parser.parse_args(exporter_flags)
    if flags.once or flags.config_check:
        raise ValueError("a service serves: remove --once and --config.check")
    for path in filter(None, (flags.config_file, flags.web_config_file, flags.log_file)):
        if not ntpath.isabs(path) or not ntpath.splitdrive(path)[0]:
            raise ValueError(f"{path}: expected a full path, such as C:\\folder\\file")
    from .http.server import parse_listen_address

    ports = {parse_listen_address(address)[1] for address in flags.addresses or [DEFAULT_ADDRESS]}
    # Named by a flag: the environment of the service may have another folder.
    log_flags = [] if flags.log_file else [f"--log.file={log_folder() / SERVICE_NAME}.log"]
    return [*exporter_flags, *log_flags], ports


def service_command(python: str, exporter_flags: Sequence[str], script: str = str(SERVICE_SCRIPT)) -> str:
    """Return the command line of the service.

    -B: no bytecode is written, which an uninstallation would leave behind. -I: no variable of the environment
    and no folder of a user adds modules.
    """
    quoted = f'"{python}" -I -B "{script}"'
    return " ".join(filter(None, (quoted, subprocess.list2cmdline(exporter_flags))))


def exporter_flags_of(command: Sequence[str]) -> list[str]:
    """Return the exporter's flags in the command line of the service."""
    for position, argument in enumerate(command):
        if PureWindowsPath(argument).name == SERVICE_SCRIPT.name:
            return list(command[position + 1 :])
    return []


def interpreter() -> str:
    """Return the path of the interpreter; in a virtual environment, of the one that it is based on."""
    return str(getattr(sys, "_base_executable", None) or sys.executable)


def log_folder() -> Path:
    """Return the folder of the service's log if there is no --log.file."""
    return Path(os.environ.get("PROGRAMDATA", r"C:\ProgramData"), SERVICE_NAME)


def _serve(exporter_flags: Sequence[str], stop: threading.Event) -> int:
    """Serve until `stop` is set. Log to a file and to the Event Log. Return the exit status."""
    from .windows.event_log import ERROR_TYPE, INFORMATION_TYPE, EventLog

    try:
        events = EventLog(SERVICE_NAME)
    except OSError:
        events = None  # The service manager's own event remains.
    # Messages about wrong flags, for example, are printed: a service has no standard error.
    printed = _BoundedText()
    sys.stdout = sys.stderr = printed
    status = _EXIT_FAILURE
    try:
        status = _serve_and_log(exporter_flags, stop, events)
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else _EXIT_FAILURE
    except ImportError as error:
        printed.write(describe_import_error(error))
    except BaseException:  # noqa: BLE001  # reported below
        printed.write(format_exc())
    if events:
        with suppress(OSError):
            if text := printed.getvalue().strip():
                events.write(ERROR_TYPE, text)
            events.write(
                ERROR_TYPE if status else INFORMATION_TYPE, f'msg="Service stopped" exit_status={status}'
            )
    return status


def _serve_and_log(exporter_flags: Sequence[str], stop: threading.Event, events: EventLog | None) -> int:
    from . import __version__, cli
    from .log import LineFormatter
    from .windows.event_log import INFORMATION_TYPE, EventLogHandler

    if events:
        logging.getLogger(__package__).addHandler(EventLogHandler(events, LineFormatter("logfmt")))
        with suppress(OSError):
            events.write(INFORMATION_TYPE, f'msg="Service started" version={__version__}')
    return cli.main(exporter_flags, stop)


class _BoundedText(io.StringIO):
    """Text of which only the beginning is kept: a service runs for months."""

    def write(self, text: str) -> int:
        """Write the text, unless the limit is reached."""
        if self.tell() < _MAX_PRINTED_CHARACTERS:
            super().write(text)
        return len(text)


def _report_failure(text: str) -> None:
    """Print why the service is not installed, and write it to the Event Log: msiexec shows no output."""
    from .windows.event_log import ERROR_TYPE, EventLog

    print(f"{SERVICE_NAME}: {text}", file=sys.stderr)
    with suppress(OSError):
        EventLog(SERVICE_NAME).write(ERROR_TYPE, text)


def _describe(error: OSError) -> str:
    if getattr(error, "winerror", 0) == ERROR_ACCESS_DENIED:
        return f"{error.strerror}; run this as administrator"
    if getattr(error, "winerror", 0) == ERROR_SERVICE_DOES_NOT_EXIST:
        return "the service is not installed"
    return str(error.strerror or error)
