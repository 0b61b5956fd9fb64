"""A terminal's keys, each as it is pressed."""

from __future__ import annotations

import select
import sys
import termios
import tty
from types import TracebackType
from typing import Self


class Keyboard:
    """Standard input while entered: no key needs Enter, none is shown, and Ctrl-C is still Ctrl-C."""

    def __enter__(self) -> Self:
        self._before = termios.tcgetattr(sys.stdin)
        tty.setcbreak(sys.stdin)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.forget()
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, self._before)

    def forget(self) -> None:
        """Takes back what was pressed before now."""
        termios.tcflush(sys.stdin, termios.TCIFLUSH)

    def pressed(self) -> bool:
        """Whether some key was."""
        return bool(select.select([sys.stdin], [], [], 0)[0])
