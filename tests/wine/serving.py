"""An exporter that serves in Windows' Python."""

from __future__ import annotations

import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from ..running import PATIENCE, Exporter, until
from .windows import Windows, stop

_STARTS_WITHIN: Final = 60.0


@contextmanager
def serving(windows: Windows, log: Path, *flags: str | Path, port: int = 0) -> Iterator[Exporter]:
    """Run an exporter on a port of 127.0.0.1 in the network namespace of Windows.

    port: by default a free one. It is stopped like an interactive program, with Ctrl-C.
    """
    address = f"--web.listen-address=127.0.0.1:{port}"
    process = windows.popen_python("-m", "exporter", address, *flags)
    # A program of Windows cannot write to a file of this host itself.
    with log.open("wb") as stream:
        writer = subprocess.Popen(["cat"], stdin=process.stdout, stdout=stream)
    try:
        yield Exporter(process, f"http://{_address(process, log)}", log)
    finally:
        # Wine passes it on as a console event.
        process.send_signal(signal.SIGINT)
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            stop(process)
            raise
        finally:
            writer.wait(PATIENCE)


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    for _ in until("the exporter listens", _STARTS_WITHIN):
        if found := re.search(r"address=(\S+)", log.read_text(encoding="utf-8")):
            return found[1]
        assert process.poll() is None, log.read_text(encoding="utf-8")
    raise AssertionError
