"""Which records become events of the Event Log."""

from __future__ import annotations

import logging

import pytest

from exporter.log import LineFormatter, fields
from exporter.windows.event_log import EventLogHandler


class Events:
    """Event log that records what is written, or is full."""

    def __init__(self, error: OSError | None = None) -> None:
        self.written: list[tuple[int, str]] = []
        self._error = error

    def write(self, event_type: int, text: str) -> None:
        if self._error:
            raise self._error
        self.written.append((event_type, text.partition(" ")[2]))


def logger_with(events: Events) -> logging.Logger:
    logger = logging.getLogger("test_event_log")
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    logger.handlers = []
    logger.addHandler(EventLogHandler(events, LineFormatter("logfmt")))  # type: ignore[arg-type]  # a stand-in
    return logger


def test_warnings_and_errors_are_events_and_the_rest_is_not() -> None:
    events = Events()
    logger = logger_with(events)
    logger.debug("Debug")
    logger.info("Listening on")
    logger.warning("Falling back", extra=fields(err="x"))
    logger.error("Cannot listen")
    logger.critical("Crash")
    assert events.written == [
        (2, 'level=warn msg="Falling back" err=x'),
        (1, 'level=error msg="Cannot listen"'),
        (1, "level=critical msg=Crash"),
    ]


def test_full_event_log_does_not_raise(capsys: pytest.CaptureFixture[str]) -> None:
    logger_with(Events(OSError("the log is full"))).error("Cannot listen")
    assert "the log is full" in capsys.readouterr().err
