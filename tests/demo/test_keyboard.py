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
def hand(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The end of a terminal at which keys are pressed; the other is standard input."""
    hand, terminal = os.openpty()
    with os.fdopen(terminal) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        yield hand
    os.close(hand)


def test_a_key_counts_at_once_and_only_when_it_was_waited_for(hand: int) -> None:
    before = termios.tcgetattr(sys.stdin)
    with Keyboard() as keyboard:
        assert not keyboard.pressed()
        os.write(hand, b"x")
        for _ in until("the key arrives"):
            if keyboard.pressed():
                break
        keyboard.forget()
        assert not keyboard.pressed()
        os.write(hand, b" ")
        for _ in until("the next key arrives"):
            if keyboard.pressed():
                break
    assert termios.tcgetattr(sys.stdin) == before
