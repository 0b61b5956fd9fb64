"""A network namespace for this process and all that it starts.

Unlike live.namespace.Namespace nobody holds it open from outside: it goes when the last process in it does,
however that ends, and commands in it are measured without an `nsenter` before each.
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


def move_into_a_new_one() -> None:
    """This process, and what it starts from now on, is alone in a network namespace with `lo` up."""
    libc = ctypes.CDLL(None, use_errno=True)  # os.unshare came with Python 3.12
    if libc.unshare(_CLONE_NEWNET) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"no network namespace: {os.strerror(error)} (needs root)")
    _loopback_up()
    _settings({"tcp_tw_reuse": 2, "tcp_timestamps": 1, "tcp_fin_timeout": 60})


def _loopback_up() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", _IFF_UP))


def _settings(values: dict[str, int]) -> None:
    """What the load builds on: the kernel's defaults, whatever this host has."""
    for name, value in values.items():
        Path("/proc/sys/net/ipv4", name).write_text(str(value))
