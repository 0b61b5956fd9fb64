"""Writes results to standard output, whose failures are errors of the command, not of the interpreter."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO, cast


class OutputError(Exception):
    """Standard output is closed, or cannot be written."""

    def __init__(self, reason: str | None) -> None:
        super().__init__(f"cannot write to standard output: {reason}")


def describe_import_error(error: ImportError) -> str:
    """Return what cannot be loaded, with its file if it is known."""
    place = f" ({error.path})" if error.path else ""
    return f"cannot load {error.name or 'a module'}{place}: {error}"


def use_utf8() -> None:
    """Write UTF-8 to standard output and standard error on Windows, also to a file or a pipe.

    Python would use the code page there, which lacks most letters that names of processes may have.
    """
    if sys.platform == "win32":
        for stream in (sys.stdout, sys.stderr):
            # None in a service, which has no streams.
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(encoding="utf-8", errors="backslashreplace")


def print_text(text: str) -> None:
    """Write a text in the encoding of standard output, characters that it lacks as escapes.

    Raises OutputError.
    """
    stream = _stdout()
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")
    with _failures_reported(stream):
        stream.write(text)
        stream.flush()


def print_bytes(data: bytes) -> None:
    """Write bytes after all text, whatever the encoding of standard output. Raises OutputError."""
    stream = _stdout()
    with _failures_reported(stream):
        stream.flush()
        stream.buffer.write(data)
        stream.buffer.flush()


def _stdout() -> TextIO:
    # None if the descriptor was closed when the interpreter started.
    stream = cast("TextIO | None", sys.stdout)
    if stream is None:
        raise OutputError(os.strerror(errno.EBADF))
    return stream


@contextmanager
def _failures_reported(stream: TextIO) -> Iterator[None]:
    """Raise OutputError instead of OSError."""
    try:
        yield
    except OSError as error:
        # The interpreter writes what is still buffered again when it exits: let the null device take it.
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)
        raise OutputError(error.strerror) from None
