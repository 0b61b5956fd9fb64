"""Log lines in the style of the Prometheus family: one line an event, as logfmt or JSON."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from traceback import format_exception, walk_tb
from typing import Final, Literal, TextIO

Format = Literal["logfmt", "json"]

LEVELS: Final = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "error": logging.ERROR,
}
"""The levels by the names that Prometheus' own programs give them."""

_NAMES: Final = {number: name for name, number in LEVELS.items()}
_PACKAGE: Final = __name__.partition(".")[0]


def configure(level: str, format: Format, stream: TextIO | None = None) -> None:  # noqa: A002 (the flag's name)
    """Sends this package's log, from `level` up, to `stream` (standard error); replaces what was set before.

    Other libraries are heard from "warn" up. Raises ValueError for an unknown level or format.
    """
    if level not in LEVELS:
        raise ValueError(f"unknown log level {level!r}: one of {', '.join(LEVELS)}")
    if format not in ("logfmt", "json"):
        raise ValueError(f"unknown log format {format!r}: logfmt or json")
    handler = logging.StreamHandler(sys.stderr if stream is None else stream)
    handler.setFormatter(LineFormatter(format, traces=level == "debug"))
    others = max(LEVELS[level], logging.WARNING)
    logging.basicConfig(handlers=[handler], level=others, force=True)
    logging.getLogger(_PACKAGE).setLevel(LEVELS[level])
    # Set on the logger itself: uvicorn looks there, not at the effective level, before it formats traces.
    logging.getLogger("uvicorn.error").setLevel(others)
    logging.getLogger("uvicorn.access").disabled = True


def fields(**values: object) -> dict[str, dict[str, object]]:
    """Gives the `extra` argument of a logging call: `logger.info("Listening", extra=fields(port=80))`."""
    return {"fields": values}


class LineFormatter(logging.Formatter):
    """Formats a record, its fields and its exception as one line.

    An exception is the field `error`, with the place it was raised in `at`; where `traces` is set,
    the whole trace follows in `trace`, escaped.
    """

    def __init__(self, style: Format, *, traces: bool = False) -> None:
        super().__init__()
        self._line = _json if style == "json" else _logfmt
        self._traces = traces

    def format(self, record: logging.LogRecord) -> str:
        """Gives the line, without a line end."""
        moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line: dict[str, object] = {
            "time": moment.replace("+00:00", "Z"),
            "level": _NAMES.get(record.levelno, record.levelname.lower()),
            "msg": record.getMessage().strip(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info and record.exc_info[1]:
            line |= self._exception(record.exc_info[1])
        return self._line(line)

    def _exception(self, error: BaseException) -> dict[str, str]:
        described = {"error": f"{type(error).__name__}: {error}"}
        places = [(frame.f_code.co_filename, line) for frame, line in walk_tb(error.__traceback__)]
        if places:
            described["at"] = "{}:{}".format(*places[-1])
        if self._traces:
            described["trace"] = "".join(format_exception(error))
        return described


class Once:
    """Logs a problem when it appears or changes, not at every scrape, and once more when it is over.

    May be used from several threads: the worst of a race is a line too many.
    """

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self._open: dict[str, tuple[str, type[BaseException] | None]] = {}

    def problem(
        self, key: str, message: str, *, error: BaseException | None = None, **values: object
    ) -> None:
        """Warns, unless the problem named `key` was last logged with this message and this kind of error.

        `values` become fields of the line. They may differ each time without being a change.
        """
        now = (message, type(error) if error else None)
        if self._open.get(key) == now:
            return
        self._open[key] = now
        self._logger.warning(message, exc_info=error, extra=fields(**values))

    def solved(self, key: str, message: str, **values: object) -> None:
        """Says at level info that the problem named `key` is over, if it had been logged."""
        if self._open.pop(key, None):
            self._logger.info(message, extra=fields(**values))


def _json(line: dict[str, object]) -> str:
    return json.dumps(line, default=str)


def _logfmt(line: dict[str, object]) -> str:
    return " ".join(f"{name}={_quoted(value)}" for name, value in line.items())


def _quoted(value: object) -> str:
    """Gives the value as text, in double quotes where logfmt needs them.

    What a terminal might obey (escape sequences, line ends) or cannot show is escaped: process names and
    request lines are chosen by others.
    """
    # Booleans and None in the lower case that Go and JSON write.
    text = str(value).lower() if value is None or isinstance(value, bool) else str(value)
    if text and text.isprintable() and not set(text) & set(' "=\\'):
        return text
    return json.dumps(text, ensure_ascii=not text.isprintable())
