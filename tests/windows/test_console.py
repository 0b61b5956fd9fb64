"""Events of the console."""

from __future__ import annotations

import threading

import pytest

from exporter.windows.console import ConsoleEvents

CTRL_C, CTRL_BREAK, CLOSE, LOGOFF, SHUTDOWN = 0, 1, 2, 5, 6


@pytest.mark.parametrize("event", [CLOSE, LOGOFF, SHUTDOWN])
def test_handler_returns_after_the_server_has_stopped(event: int) -> None:
    stop = threading.Event()
    events = ConsoleEvents(stop)

    def serve() -> None:
        stop.wait()
        events.stopped.set()

    threading.Thread(target=serve, daemon=True).start()
    assert events.handle(event)
    assert events.stopped.is_set()


@pytest.mark.parametrize("event", [CTRL_C, CTRL_BREAK])
def test_signals_are_left_to_python(event: int) -> None:
    stop = threading.Event()
    assert not ConsoleEvents(stop).handle(event)
    assert not stop.is_set()


def test_service_outlives_the_user_who_logs_off() -> None:
    assert ConsoleEvents(stop=None).handle(LOGOFF)
