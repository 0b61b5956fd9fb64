"""A /proc with a process whose file hangs when it is read.

The file is a FIFO without a writer: open() hangs, like reads of a process whose memory is locked.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Final, Self

PID: Final = 4_000_001
"""A pid above any real one."""


class HungProc:
    """A /proc with one process that owns the socket and whose stat hangs."""

    def __init__(self, root: Path, held: socket.socket) -> None:
        self.root = root
        root.mkdir()
        for name in ("sys", "stat", "self", "thread-self"):
            (root / name).symlink_to(f"/proc/{name}")
        directory = root / str(PID)
        (directory / "fd").mkdir(parents=True)
        (directory / "fd" / "3").symlink_to(f"socket:[{os.fstat(held.fileno()).st_ino}]")
        (directory / "limits").symlink_to("/proc/self/limits")
        self._stat = directory / "stat"
        os.mkfifo(self._stat)
        self._away = root / "away"

    def hide(self) -> Self:
        """Hide the process."""
        self._stat.parent.rename(self._away)
        return self

    def appear(self) -> None:
        """Show the process."""
        self._away.rename(self._stat.parent)

    def release(self) -> None:
        """Replace the FIFO by a regular file, and unblock its readers with the same content."""
        fields = ["S", *map(str, range(4, 22)), "100", "4096", "1"]
        text = f"{PID} (hung) {' '.join(fields)}\n"
        plain = self._stat.with_name("plain")
        plain.write_text(text)
        fifo = os.open(self._stat, os.O_RDWR)
        plain.rename(self._stat)
        os.write(fifo, text.encode())
        os.close(fifo)
