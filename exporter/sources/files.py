"""Reads the small files of /proc, whose content the kernel makes while it is read (proc(5))."""

from __future__ import annotations

import os


def read_whole(path: str, size: int = 4096) -> bytes:
    """All that is in a file. A third of what Python's own files take. size: of a read; nearly all of these
    files are shorter. Raises OSError; what read() raises names no file."""
    file = os.open(path, os.O_RDONLY)
    try:
        pieces = []
        while piece := os.read(file, size):
            pieces.append(piece)
        return b"".join(pieces)
    finally:
        os.close(file)
