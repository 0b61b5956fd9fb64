"""Keys of a terminal."""

from __future__ import annotations

import os
import sys
import termios
from collections.abc import Iterator

import pytest

from ..running import until
from .keyboard import Keyboard


@pytest.fixture
def pty_master(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Return the master end of a pseudo-terminal; the other end is standard input."""
    pty_master, terminal = os.openpty()
    with os.fdopen(terminal) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        yield pty_master
    os.close(pty_master)


def test_only_keys_after_discard_input_count(pty_master: int) -> None:
    before = termios.tcgetattr(sys.stdin)
    with Keyboard() as keyboard:
        assert not keyboard.pressed()
        os.write(pty_master, b"x")
        for _ in until("the key arrives"):
            if keyboard.pressed():
                break
        keyboard.discard_input()
        assert not keyboard.pressed()
        os.write(pty_master, b" ")
        for _ in until("the next key arrives"):
            if keyboard.pressed():
                break
    assert termios.tcgetattr(sys.stdin) == before
