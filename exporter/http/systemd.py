"""systemd: socket activation (sd_listen_fds(3)) and service notifications (sd_notify(3))."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import time
from collections.abc import Iterator
from typing import Final

from ..log import fields

logger: Final = logging.getLogger(__name__)

SD_LISTEN_FDS_START: Final = 3
"""First inherited file descriptor."""


def inherited_sockets() -> list[socket.socket]:
    """Return the listening sockets that systemd has passed to this process.

    Removes systemd's variables from the environment, so that child processes do not inherit them.

    Raises OSError if systemd has passed no socket, or one that does not listen.
    """
    count = _env_int("LISTEN_FDS") if _env_int("LISTEN_PID") == os.getpid() else 0
    for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"):
        os.environ.pop(name, None)
    if not count:
        raise OSError("systemd has passed no sockets: start this by a .socket unit (LISTEN_FDS, LISTEN_PID)")
    return [_inherited_socket(fd) for fd in range(SD_LISTEN_FDS_START, SD_LISTEN_FDS_START + count)]


def _inherited_socket(fd: int) -> socket.socket:
    try:
        os.set_inheritable(fd, False)
        sock = socket.socket(fileno=fd)
    except OSError as error:
        raise OSError(error.errno, f"systemd passed file descriptor {fd}: {error.strerror}") from None
    listens = sock.type == socket.SOCK_STREAM and sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    if not listens:
        raise OSError(f"systemd passed file descriptor {fd}, which is not a listening socket (Accept=yes?)")
    return sock


def _env_int(name: str) -> int:
    text = os.environ.get(name, "")
    return int(text) if text.isascii() and text.isdigit() else 0


def notify_ready() -> None:
    """Notify systemd that the service is ready."""
    _sd_notify("READY=1")


def notify_stopping() -> None:
    """Notify systemd that the service is stopping."""
    _sd_notify("STOPPING=1")


@contextlib.contextmanager
def notify_reloading() -> Iterator[None]:
    """Notify systemd, for Type=notify-reload, when a reload of the configuration starts and ends."""
    _sd_notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")
    try:
        yield
    finally:
        notify_ready()


def _sd_notify(state: str) -> None:
    """Send a state to the socket in NOTIFY_SOCKET, if any. A failure is logged, not raised."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            # A leading @ stands for the NUL byte of Linux' abstract names.
            sender.sendto(state.encode(), "\0" + address[1:] if address[0] == "@" else address)
    except OSError as error:
        logger.warning("sd_notify failed", extra=fields(state=state, err=error))
