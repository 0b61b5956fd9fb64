"""Reads files of /proc, whose content the kernel generates while it is read (proc(5))."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

_T = TypeVar("_T")


def read_file(path: str, size: int = 4096, limit: int = sys.maxsize) -> bytes:
    """Return the content of a file, in a third of the time that open() takes.

    size: bytes for each read(2); nearly all files of /proc are shorter than the default.
    limit: maximum number of bytes; the rest of the file is not read.

    Raises OSError; an error of read(2) has no filename.
    """
    fd = os.open(path, os.O_RDONLY)
    try:
        pieces = []
        while limit > 0 and (piece := os.read(fd, min(size, limit))):
            limit -= len(piece)
            pieces.append(piece)
        return b"".join(pieces)
    finally:
        os.close(fd)


class ProcDirectory:
    """Reads and parses files of one directory. An unreadable or malformed file does not affect the others."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._failures: list[OSError] = []
        self._any_read = False
        self.errors: list[str] = []
        """One sentence for each file that exists but is unreadable or malformed."""

    def parse(
        self, name: str, parser: Callable[[str], _T], absent: _T | None = None, size: int = 4096
    ) -> _T | None:
        """Return the parser's result for a file.

        If the file is unreadable or the parser raises ValueError, add an entry to `errors` and return None.

        absent: returned if there is no such file. size: bytes for each read(2).
        """
        path = self._path(name)
        try:
            text = read_file(path, size).decode("utf-8", "replace")
        except FileNotFoundError as error:
            self._record_failure(error)
            return absent
        except OSError as error:
            error.filename = path  # an error of read(2) has none
            self._record_failure(error)
            self.errors.append(str(error))
            return None
        self._any_read = True
        try:
            return parser(text)
        except ValueError as error:
            self.report(name, [str(error)])
            return None

    def report(self, name: str, problems: Sequence[str]) -> None:
        """Add an entry to `errors` if a file has problems."""
        if problems:
            self.errors.append(f"{self._path(name)}: {', '.join(problems)}")

    def _path(self, name: str) -> str:
        return f"{self._directory}/{name}"

    def _record_failure(self, error: OSError) -> None:
        """Keep an error without its traceback.

        The traceback refers to this object and to all objects of the collection, megabytes on a large host.
        Such a cycle would keep them in memory until the garbage collector runs.
        """
        self._failures.append(error.with_traceback(None))

    def raise_if_unreadable(self) -> None:
        """Raise the first OSError if none of the files was readable."""
        if self._failures and not self._any_read:
            raise self._failures[0]
