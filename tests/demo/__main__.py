"""`make demo`: shows an alert that fires and resolves on this host, and removes everything afterwards."""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Final, NoReturn

from .keyboard import Keyboard
from .monitoring import alertmanager_program, monitoring
from .ports import free_ports
from .run import DemoRun, Trigger

_INTERRUPTED: Final = 130


class KeyPress:
    """Fixes leaky when the user presses a key."""

    request = "Press any key to fix leaky, or Ctrl-C to stop."

    def __init__(self, keyboard: Keyboard) -> None:
        self._keyboard = keyboard

    def begin(self) -> None:
        self._keyboard.discard_input()

    def is_over(self) -> bool:
        return self._keyboard.pressed()


class Timer:
    """Fixes leaky after some seconds, without a terminal."""

    def __init__(self, seconds: float) -> None:
        self.request = f"leaky will be fixed in {seconds:g} s."
        self._seconds = seconds
        self._end = 0.0

    def begin(self) -> None:
        self._end = time.monotonic() + self._seconds

    def is_over(self) -> bool:
        return time.monotonic() >= self._end


def main() -> int:
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument(
        "--seconds", type=float, help="wait after the alert, instead of for a key (5 without a terminal)"
    )
    seconds = parser.parse_args().seconds
    if not (shutil.which("prometheus") and alertmanager_program()):
        parser.exit(1, "please install prometheus and prometheus-alertmanager (Debian's packages)\n")
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _stop)
    try:
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="socket-state-demo-")))
            watch = stack.enter_context(monitoring(folder, free_ports()))
            DemoRun(watch, _trigger(stack, seconds)).run()
    except KeyboardInterrupt:
        status = _INTERRUPTED
    except OSError as error:
        print(error, file=sys.stderr)
        status = 1
    else:
        status = 0
    print("\nEverything is stopped and removed.", flush=True)
    return status


def _trigger(stack: ExitStack, seconds: float | None) -> Trigger:
    if seconds is None and sys.stdin.isatty():
        return KeyPress(stack.enter_context(Keyboard()))
    return Timer(5 if seconds is None else seconds)


def _stop(*_: object) -> NoReturn:
    """Interrupt once, and ignore later signals, which would interrupt the cleanup."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
