"""systemd: sockets that it passes (sd_listen_fds(3)), and what it wants to be told (sd_notify(3))."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import time
from collections.abc import Iterator
from typing import Final

from ..log import fields

logger = logging.getLogger(__name__)

FIRST: Final = 3
"""SD_LISTEN_FDS_START: the first descriptor that is passed."""


def listeners() -> list[socket.socket]:
    """The sockets that systemd has passed to this process; from then on they are not passed to children.

    Raises OSError where it has passed none, or one that takes no connections.
    """
    number = _number("LISTEN_FDS") if _number("LISTEN_PID") == os.getpid() else 0
    for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"):
        os.environ.pop(name, None)
    if not number:
        raise OSError("systemd has passed no sockets: start this by a .socket unit (LISTEN_FDS, LISTEN_PID)")
    return [_listener(descriptor) for descriptor in range(FIRST, FIRST + number)]


def _listener(descriptor: int) -> socket.socket:
    try:
        os.set_inheritable(descriptor, False)
        found = socket.socket(fileno=descriptor)
    except OSError as error:
        raise OSError(error.errno, f"systemd passed descriptor {descriptor}: {error.strerror}") from None
    accepts = found.type == socket.SOCK_STREAM and found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    if not accepts:
        raise OSError(f"systemd passed descriptor {descriptor}, which takes no connections (Accept=yes?)")
    return found


def _number(name: str) -> int:
    text = os.environ.get(name, "")
    return int(text) if text.isascii() and text.isdigit() else 0


def ready() -> None:
    """Says that requests are answered."""
    _notify("READY=1")


def stopping() -> None:
    """Says that the end has begun."""
    _notify("STOPPING=1")


@contextlib.contextmanager
def reloading() -> Iterator[None]:
    """Says, for Type=notify-reload, that the configuration is being read, and afterwards that it has been."""
    _notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")
    try:
        yield
    finally:
        ready()


def _notify(state: str) -> None:
    """Tells whoever NOTIFY_SOCKET names, if anybody. Never raises: to be told is systemd's interest."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            # @ stands for the NUL of Linux' abstract names.
            sender.sendto(state.encode(), "\0" + address[1:] if address[0] == "@" else address)
    except OSError as error:
        logger.warning("systemd could not be told", extra=fields(state=state, err=error))
