"""A terminal's keys, each as it is pressed."""

from __future__ import annotations

import select
import sys
import termios
import tty
from types import TracebackType
from typing import Self


class Keyboard:
    """Standard input in cbreak mode while entered: no Enter, no echo, and Ctrl-C still works."""

    def __enter__(self) -> Self:
        self._before = termios.tcgetattr(sys.stdin)
        tty.setcbreak(sys.stdin)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.discard_input()
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, self._before)

    def discard_input(self) -> None:
        """Discard keys pressed before."""
        termios.tcflush(sys.stdin, termios.TCIFLUSH)

    def pressed(self) -> bool:
        """Return whether a key was pressed."""
        return bool(select.select([sys.stdin], [], [], 0)[0])
