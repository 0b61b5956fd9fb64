"""Programs that run concurrently and stop together."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

_PATIENCE: Final = 5.0
_TAIL: Final = 12

# Even when this process is killed, they get to know.
_TIED: Final = ("setpriv", "--pdeathsig", "TERM", "--") if shutil.which("setpriv") else ()


class Programs:
    """Starts programs with their output in files of a folder, and stops them at exit."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._started: dict[str, subprocess.Popen[str]] = {}

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._started.values():
            process.terminate()
        deadline = time.monotonic() + _PATIENCE
        for process in self._started.values():
            _reap(process, max(deadline - time.monotonic(), 0))

    def start(self, name: str, command: Sequence[str | Path], folder: str | Path = os.sep) -> None:
        """Start a program in a folder. It does not receive Ctrl-C: it is stopped in order."""
        with self._log(name).open("w") as log:
            self._started[name] = subprocess.Popen(
                [*_TIED, *map(str, command)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                text=True,
                cwd=folder,
                process_group=0,
            )

    def tell(self, name: str, line: str) -> None:
        """Write a line to the standard input of a program."""
        stdin = self._started[name].stdin
        assert stdin is not None
        stdin.write(f"{line}\n")
        stdin.flush()

    def output(self, name: str) -> str:
        """Return the output of a program so far."""
        return self._log(name).read_text(errors="replace")

    def ended(self) -> list[str]:
        """Return the programs that have exited by themselves."""
        return [name for name, process in self._started.items() if process.poll() is not None]

    def diagnostics(self) -> str:
        """Return the last lines of each program's output."""
        return "\n".join(
            f"--- {name}\n" + "\n".join(self.output(name).splitlines()[-_TAIL:]) for name in self._started
        )

    def _log(self, name: str) -> Path:
        return self._folder / f"{name}.log"


def _reap(process: subprocess.Popen[str], patience: float) -> None:
    try:
        process.wait(patience)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdin is not None:
        with suppress(OSError):
            process.stdin.close()
