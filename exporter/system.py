"""Objects that ask this operating system for sockets, owners and limits: chosen here, by platform."""

from __future__ import annotations

import logging
import sys
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from .collection.interfaces import HostReaders, SocketSource
from .log import fields
from .model.host import SysctlLimits
from .model.privilege import Privilege
from .netlink.source import NetlinkSource
from .netlink.transport import NetlinkError
from .owners.dead_fd_finder import DeadFdFinder
from .owners.fd_scanner import FdScanner
from .owners.inode_resolver import InodeOwnerResolver
from .owners.pid_resolver import PidOwnerResolver
from .owners.process_cache import ProcessCache, ProcessReader
from .owners.resolver import OwnerResolver
from .portable.psutil_process import PsutilProcessReader
from .portable.psutil_source import PsutilSource
from .portable.user_privilege import read_user_privilege
from .procfs.fd_usage import read_fd_usage
from .procfs.netstat import read_counters
from .procfs.own_capabilities import read_capabilities
from .procfs.process_reader import ProcfsProcessReader
from .procfs.socket_protocol import read_socket_protocol
from .procfs.sysctl import read_sysctls
from .procfs.workers import read_workers

if TYPE_CHECKING:
    from .windows.iphlpapi_source import IphlpapiSource
    from .windows.windows_host import WindowsHost

# IphlpapiSource.name. What reads Windows is imported there only: it would take 10 ms and 1 MiB elsewhere.
_IPHLPAPI: Final = "iphlpapi"
_NATIVE_SOURCES: Final = {"linux": NetlinkSource.name, "win32": _IPHLPAPI}

logger = logging.getLogger(__name__)


def choose_source(name: str, procfs: Path = Path("/proc")) -> SocketSource:
    """Return the socket source of this name; for `auto`, psutil where the system's own is unavailable.

    Raises NetlinkError, OSError or ValueError if another source is named and the system refuses it.
    """
    native = _NATIVE_SOURCES.get(sys.platform, PsutilSource.name) if name == "auto" else name
    source: NetlinkSource | IphlpapiSource
    if native == PsutilSource.name:
        return PsutilSource(procfs)
    source = NetlinkSource() if native == NetlinkSource.name else windows_host().build_source()
    try:
        source.probe()
    except (NetlinkError, OSError, ValueError) as error:
        if name != "auto":
            raise
        logger.warning("Falling back to psutil", extra=fields(unavailable=native, err=error))
        return PsutilSource(procfs)
    return source


@cache
def windows_host() -> WindowsHost:
    """Return the readers of Windows, the same ones in each call: they share tables."""
    from .windows.windows_host import WindowsHost

    return WindowsHost()


def build_host_readers(procfs: Path) -> HostReaders:
    """Return the readers of this host's data other than sockets and their owners."""
    if sys.platform == "win32":
        windows = windows_host()
        return HostReaders(
            read_limits=windows.read_limits,
            read_counters=windows.read_counters,
            read_fd_usage=partial(read_fd_usage, procfs),
            read_handle_count=windows.read_handle_count,
        )
    return HostReaders(
        read_limits=partial(read_sysctls, procfs) if sys.platform == "linux" else SysctlLimits,
        read_counters=partial(read_counters, procfs),
        read_fd_usage=partial(read_fd_usage, procfs),
        read_workers=partial(read_workers, procfs),
    )


def build_process_reader(source_name: str, procfs: Path) -> ProcessReader:
    """Return the reader of process attributes for this source and system."""
    if source_name == _IPHLPAPI:
        return windows_host().build_process_reader()
    return ProcfsProcessReader(procfs) if sys.platform == "linux" else PsutilProcessReader()


def build_owner_resolver(
    source: SocketSource, procfs: Path, *, details: bool, long_running: bool
) -> tuple[OwnerResolver, DeadFdFinder | None]:
    """Return the resolver for the owner keys of this source, and the finder of dead descriptors.

    details: whether naming rules need more of a process than its comm.
    """
    processes = ProcessCache(build_process_reader(source.name, procfs), details)
    if not isinstance(source, NetlinkSource):
        return PidOwnerResolver(processes), None
    scanner = FdScanner(procfs)
    dead_fds = DeadFdFinder(scanner, processes, source, read_socket_protocol, long_running=long_running)
    return InodeOwnerResolver(scanner, processes), dead_fds


def read_privilege(procfs: Path) -> Privilege:
    """Return the privilege of this process on this system."""
    return read_capabilities(procfs) if sys.platform == "linux" else read_user_privilege()
