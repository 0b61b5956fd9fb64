"""Protocol of a socket that a process has open, also of one that is in no table of the kernel."""

from __future__ import annotations

import errno
import os
import sys
from typing import Final

# The kernel sets it when it makes the descriptor (sockfs_xattr_get and sock_alloc_file in net/socket.c).
_ATTRIBUTE: Final = "system.sockprotoname"


def read_socket_protocol(path: str) -> str:
    """Return the kernel's name of the protocol, such as TCP, TCPv6, MPTCP, UDP or UNIX-STREAM.

    Empty if the descriptor is not a socket. The name of an accepted connection is that of its listener:
    `MPTCP` also if the client does not use MPTCP. Takes 3 us, as reading the link, and requires the same
    permission.

    path: `/proc/PID/fd/N`.

    Raises OSError if the descriptor or the process has vanished, or is not readable.
    """
    if sys.platform != "linux":
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))
    try:
        return os.getxattr(path, _ATTRIBUTE).rstrip(b"\0").decode("ascii", "replace")
    except OSError as error:
        if error.errno in (errno.ENOTSUP, errno.ENODATA):
            return ""
        raise
