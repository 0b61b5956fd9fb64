"""Sockets that a process has registered with io_uring, possibly without a descriptor of their own."""

from __future__ import annotations

import re
from typing import Final

from ..procfs.files import read_file

# Lines such as `    2: socket:[34274497]` under `UserFiles:` (io_uring/fdinfo.c), seen on Linux 6.18. Older
# kernels print the name of the file without the inode, probably.
_REGISTERED_SOCKET: Final = re.compile(rb"^ *[0-9]+: socket:\[([0-9]+)\]$", re.MULTILINE)
# 8,000 lines; a process can register a million descriptors.
_MAX_FDINFO_BYTES: Final = 256 * 1024


def read_registered_sockets(fdinfo: str) -> list[int]:
    """Return the inodes of the sockets that are registered with an io_uring instance.

    Empty while the instance is in use: the kernel then omits the list, since it does not wait for the lock.

    fdinfo: path of its file, /proc/PID/fdinfo/N. Raises OSError if that is not readable.
    """
    content = read_file(fdinfo, size=65_536, limit=_MAX_FDINFO_BYTES)
    return list(map(int, _REGISTERED_SOCKET.findall(content)))
