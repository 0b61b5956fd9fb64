"""Log lines as Prometheus writes them: one line per event, logfmt or JSON, with the keys of promslog."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from pathlib import Path
from traceback import format_exception, walk_tb
from typing import Final, Literal, TextIO

Format = Literal["logfmt", "json"]

LEVELS: Final = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "error": logging.ERROR,
}
"""Level names of promslog -> level numbers of logging."""

_LEVEL_NAMES: Final = {number: name for name, number in LEVELS.items()}
_PACKAGE: Final = __name__.partition(".")[0]


def configure_logging(
    level: str,
    format: Format,  # noqa: A002  # the flag's name
    stream: TextIO | None = None,
    file: Path | None = None,
) -> None:
    """Log this package's records from `level` up to `file` or `stream` (standard error).

    Replaces earlier handlers. Records of other libraries are logged from "warn" up. Raises ValueError for an
    unknown level or format, OSError if the file cannot be written.
    """
    if level not in LEVELS:
        raise ValueError(f"unknown log level {level!r}: one of {', '.join(LEVELS)}")
    if format not in ("logfmt", "json"):
        raise ValueError(f"unknown log format {format!r}: logfmt or json")
    handler: logging.Handler
    if file:
        # Imported only if it is needed: logging.handlers imports pickle, queue and socket.
        from .log_file import LogFileHandler

        handler = LogFileHandler(file)
    else:
        handler = logging.StreamHandler(sys.stderr if stream is None else stream)
    handler.setFormatter(LineFormatter(format, stacktraces=level == "debug"))
    library_level = max(LEVELS[level], logging.WARNING)
    logging.basicConfig(handlers=[handler], level=library_level, force=True)
    logging.getLogger(_PACKAGE).setLevel(LEVELS[level])


def fields(**values: object) -> dict[str, dict[str, object]]:
    """Return the `extra` argument of a logging call: `logger.info("Listening", extra=fields(port=80))`."""
    return {"fields": values}


class LineFormatter(logging.Formatter):
    """Formats a record, its fields and its exception as one line.

    An exception becomes `err`, and the file and line that raised it `source`. With `stacktraces`, the field
    `stacktrace` has the traceback, escaped.
    """

    def __init__(self, style: Format, *, stacktraces: bool = False) -> None:
        super().__init__()
        self._format_line = _format_json if style == "json" else _format_logfmt
        self._stacktraces = stacktraces

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without a line end."""
        moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line: dict[str, object] = {
            "time": moment.replace("+00:00", "Z"),
            "level": _LEVEL_NAMES.get(record.levelno, record.levelname.lower()),
            "msg": record.getMessage().strip(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info and record.exc_info[1]:
            line |= self._exception_fields(record.exc_info[1])
        return self._format_line(line)

    def _exception_fields(self, error: BaseException) -> dict[str, str]:
        described = {"err": f"{type(error).__name__}: {error}"}
        locations = [(frame.f_code.co_filename, line) for frame, line in walk_tb(error.__traceback__)]
        if locations:
            described["source"] = "{}:{}".format(*locations[-1])
        if self._stacktraces:
            described["stacktrace"] = "".join(format_exception(error))
        return described


class LogOnChange:
    """Logs a failure when it begins or changes, not at every scrape, and its recovery.

    Safe to use from several threads: a race costs at most a duplicate line.
    """

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self._failing: dict[str, tuple[str, type[BaseException] | None]] = {}

    def failing(
        self, key: str, message: str, *, error: BaseException | None = None, **values: object
    ) -> None:
        """Log a warning, unless the failure `key` was last logged with this message and type of exception.

        `values` become fields of the line. A difference in them alone is not a change.
        """
        current = (message, type(error) if error else None)
        if self._failing.get(key) == current:
            return
        self._failing[key] = current
        self._logger.warning(message, exc_info=error, extra=fields(**values))

    def recovered(self, key: str, message: str, **values: object) -> None:
        """Log at level info that the failure `key` is over, if it had been logged."""
        if self._failing.pop(key, None):
            self._logger.info(message, extra=fields(**values))


def _format_json(line: dict[str, object]) -> str:
    return json.dumps(line, default=str)


def _format_logfmt(line: dict[str, object]) -> str:
    return " ".join(f"{name}={_format_value(value)}" for name, value in line.items())


def _format_value(value: object) -> str:
    """Return the value as text, in double quotes where logfmt needs them.

    Control characters (escape sequences, line ends) and unprintable characters are escaped: process names and
    request lines are untrusted.
    """
    # Booleans and None in lower case, as Go and JSON write them.
    text = str(value).lower() if value is None or isinstance(value, bool) else str(value)
    if text and text.isprintable() and not set(text) & set(' "=\\'):
        return text
    return json.dumps(text, ensure_ascii=not text.isprintable())
