"""Log lines: formats, levels, and failures that are logged once."""

from __future__ import annotations

import io
import json
import logging
import re
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import NoReturn

import pytest

from exporter.log import Format, LineFormatter, LogOnChange, configure_logging, fields

log = logging.getLogger("exporter.test_log")


@pytest.fixture(autouse=True)
def _restore_logging(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    names = (None, "exporter", "asyncio")
    before = [(logging.getLogger(name), logging.getLogger(name).level) for name in names]
    # configure_logging() closes the handlers that it replaces: hide pytest's.
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    yield
    for logger, level in before:
        logger.setLevel(level)


def configured(level: str = "info", style: Format = "logfmt") -> io.StringIO:
    stream = io.StringIO()
    configure_logging(level, style, stream)
    return stream


def fail(message: str) -> OSError:
    try:
        raise_it(message)
    except OSError as error:
        return error


def raise_it(message: str) -> NoReturn:
    raise OSError(message)  # the place that `source` names


def test_line_has_time_level_msg_and_fields() -> None:
    stream = configured()
    log.info("Listening on", extra=fields(address="[::]:10066", tls=False))
    stamp, rest = stream.getvalue().split(" ", 1)
    assert re.fullmatch(r"time=\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", stamp)
    assert rest == 'level=info msg="Listening on" address=[::]:10066 tls=false\n'


def test_time_is_utc_with_milliseconds() -> None:
    record = log.makeRecord(log.name, logging.INFO, "", 0, "x", (), None)
    record.created = 1_795_341_600.25
    assert LineFormatter("logfmt").format(record) == "time=2026-11-22T10:00:00.250Z level=info msg=x"


def test_json_keeps_numbers_and_booleans() -> None:
    stream = configured(style="json")
    log.warning("Too many", extra=fields(limit=512, tls=False, name="a b", path=None, pid=Fraction(7)))
    line = json.loads(stream.getvalue())
    line.pop("time")
    assert line == {
        "level": "warn",
        "msg": "Too many",
        "limit": 512,
        "tls": False,
        "name": "a b",
        "path": None,
        "pid": "7",
    }


@pytest.mark.parametrize(
    ("value", "formatted"),
    [
        ("plain-1.5/x", "plain-1.5/x"),
        ("", '""'),
        ("a b", '"a b"'),
        ("a=b", '"a=b"'),
        ('say "x"', '"say \\"x\\""'),
        ("back\\slash", '"back\\\\slash"'),
        ("two\nlines", '"two\\nlines"'),
        ("\x1b[31mred", '"\\u001b[31mred"'),
        ("\x9bcsi", '"\\u009bcsi"'),
        ("\u2028", '"\\u2028"'),
        ("bad\udc80byte", '"bad\\udc80byte"'),
        ("grün", "grün"),
        ("grün und blau", '"grün und blau"'),
        (None, "none"),
        (True, "true"),
        (1.5, "1.5"),
    ],
)
def test_logfmt_quotes_and_escapes_special_characters(value: object, formatted: str) -> None:
    stream = configured()
    log.info("x", extra=fields(value=value))
    assert stream.getvalue().endswith(f"msg=x value={formatted}\n")


@pytest.mark.parametrize("style", ["logfmt", "json"])
@pytest.mark.parametrize("level", ["info", "debug"])
def test_exception_is_one_line_with_stacktrace_at_debug_only(style: Format, level: str) -> None:
    stream = configured(level, style)
    log.error("Collection failed\n", exc_info=fail("no\nfile"))
    text = stream.getvalue()
    assert text.count("\n") == 1
    assert ("Traceback (most recent call last)" in text) == (level == "debug")
    assert ("stacktrace" in text) == (level == "debug")
    assert "OSError: no\\nfile" in text
    source = re.search(r"test_log\.py:(\d+)", text)
    assert source
    assert "the place that `source` names" in Path(__file__).read_text().splitlines()[int(source[1]) - 1]
    assert "Collection failed\\n" not in text


def test_exception_that_was_never_raised_has_no_source() -> None:
    stream = configured()
    log.error("x", exc_info=ValueError("y"))
    assert stream.getvalue().endswith('msg=x err="ValueError: y"\n')


@pytest.mark.parametrize(
    ("level", "logged"),
    [
        ("debug", ["debug", "info", "warn", "error"]),
        ("info", ["info", "warn", "error"]),
        ("warn", ["warn", "error"]),
        ("error", ["error"]),
    ],
)
def test_package_records_below_the_level_are_dropped(level: str, logged: list[str]) -> None:
    stream = configured(level)
    for number in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR):
        log.log(number, "x")
    assert re.findall(r"level=(\w+)", stream.getvalue()) == logged


def test_warnings_of_libraries_have_the_same_format() -> None:
    stream = configured("debug")
    logging.getLogger("asyncio").info("chatter")
    logging.getLogger("asyncio").warning("Something is slow.")
    assert stream.getvalue().count("\n") == 1
    assert 'level=warn msg="Something is slow."' in stream.getvalue()


def test_configure_replaces_the_previous_handler() -> None:
    first, second = configured(), configured()
    log.info("x")
    assert first.getvalue() == ""
    assert second.getvalue().count("\n") == 1


@pytest.mark.parametrize("level", ["loud", "INFO", "warning", ""])
def test_unknown_level_raises_value_error(level: str) -> None:
    with pytest.raises(ValueError, match=f"unknown log level '{level}': one of debug, info, warn, error"):
        configure_logging(level, "logfmt")


def test_unknown_format_raises_value_error() -> None:
    with pytest.raises(ValueError, match="unknown log format 'xml': logfmt or json"):
        configure_logging("info", "xml")  # type: ignore[arg-type]


class TestLogOnChange:
    def test_continuing_failure_is_logged_once(self) -> None:
        stream, log_on_change = configured(), LogOnChange(log)
        for seconds in range(3):
            log_on_change.failing("owners", "Cannot read owners", pid=7, seconds=seconds)
        assert stream.getvalue().count("\n") == 1
        assert 'level=warn msg="Cannot read owners" pid=7 seconds=0' in stream.getvalue()

    def test_changed_message_or_exception_type_is_logged_again(self) -> None:
        stream, log_on_change = configured(), LogOnChange(log)
        log_on_change.failing("owners", "Cannot read owners", error=fail("pid 1"))
        log_on_change.failing("owners", "Cannot read owners", error=fail("pid 2"))
        log_on_change.failing("owners", "Cannot read owners", error=PermissionError())
        log_on_change.failing("owners", "Cannot see owners", error=PermissionError())
        lines = stream.getvalue().splitlines()
        assert ["pid 1" in lines[0], "PermissionError" in lines[1], "Cannot see" in lines[2]] == [True] * 3
        assert len(lines) == 3

    def test_recovery_is_logged_once(self) -> None:
        stream, log_on_change = configured(), LogOnChange(log)
        log_on_change.failing("owners", "Cannot read owners")
        log_on_change.recovered("owners", "Owners read again", collector="owners")
        log_on_change.recovered("owners", "Owners read again", collector="owners")
        assert stream.getvalue().count("again") == 1
        assert 'level=info msg="Owners read again" collector=owners' in stream.getvalue()

    def test_failure_after_recovery_is_logged_again(self) -> None:
        stream, log_on_change = configured(), LogOnChange(log)
        for _ in range(2):
            log_on_change.failing("owners", "Cannot read owners")
            log_on_change.recovered("owners", "Owners read again")
        assert stream.getvalue().count("Cannot") == 2

    def test_recovery_without_failure_is_not_logged(self) -> None:
        stream, log_on_change = configured(), LogOnChange(log)
        log_on_change.failing("limits", "Cannot read limits")
        log_on_change.recovered("owners", "Owners read again")
        assert "again" not in stream.getvalue()
