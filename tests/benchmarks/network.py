"""A network namespace for this process and its children.

Unlike live.namespace.Namespace no other process holds it open: it ends with its last process, and commands
are measured without `nsenter`.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
from pathlib import Path
from typing import Final

_CLONE_NEWNET: Final = 0x40000000
_SIOCSIFFLAGS: Final = 0x8914
_IFF_UP: Final = 1


def enter_new_namespace() -> None:
    """Move this process and its future children into a new network namespace with `lo` up."""
    libc = ctypes.CDLL(None, use_errno=True)  # os.unshare requires Python 3.12
    if libc.unshare(_CLONE_NEWNET) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"no network namespace: {os.strerror(error)} (requires root)")
    _loopback_up()
    _settings({"tcp_tw_reuse": 2, "tcp_timestamps": 1, "tcp_fin_timeout": 60})


def _loopback_up() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", _IFF_UP))


def _settings(values: dict[str, int]) -> None:
    """Set sysctls to the kernel's defaults, which the load relies on."""
    for name, value in values.items():
        Path("/proc/sys/net/ipv4", name).write_text(str(value))
