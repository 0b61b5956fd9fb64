"""Reads the small files of /proc, whose content the kernel makes while it is read (proc(5))."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

_T = TypeVar("_T")


def read_whole(path: str, size: int = 4096, limit: int = sys.maxsize) -> bytes:
    """All that is in a file, up to a limit in bytes. A third of what Python's own files take. size: of a
    read; nearly all of these files are shorter. Raises OSError; what read() raises names no file."""
    file = os.open(path, os.O_RDONLY)
    try:
        pieces = []
        while limit > 0 and (piece := os.read(file, min(size, limit))):
            limit -= len(piece)
            pieces.append(piece)
        return b"".join(pieces)
    finally:
        os.close(file)


class Files:
    """Reads files of a directory. One that cannot be read, or makes no sense, does not hide the others."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._failures: list[OSError] = []
        self._answered = False
        self.errors: list[str] = []

    def parse(
        self, name: str, parser: Callable[[str], _T], absent: _T | None = None, size: int = 4096
    ) -> _T | None:
        """What the parser makes of a file, `absent` where there is no such file. None where it cannot
        be read or the parser raises ValueError: that is then among the errors. `size`: of a read."""
        path = f"{self._directory}/{name}"
        try:
            text = read_whole(path, size).decode("utf-8", "replace")
        except FileNotFoundError as failure:
            self._note(failure)
            return absent
        except OSError as failure:
            failure.filename = path  # read() does not know it
            self._note(failure)
            self.errors.append(str(failure))
            return None
        self._answered = True
        try:
            return parser(text)
        except ValueError as failure:
            self.errors.append(f"{path}: {failure}")
            return None

    def _note(self, failure: OSError) -> None:
        """Without its traceback, which leads back here and to all that is being done at the moment: such a
        ring would keep a whole look, megabytes on a big host, until Python searches for garbage."""
        self._failures.append(failure.with_traceback(None))

    def require_any(self) -> None:
        """Raises the first OSError when no file could be read."""
        if self._failures and not self._answered:
            raise self._failures[0]
