import io
import json
import logging
import re
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import NoReturn

import pytest

from exporter.logs import Format, LineFormatter, Once, configure, fields

log = logging.getLogger("exporter.test_logs")


@pytest.fixture(autouse=True)
def _logging_as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    names = (None, "exporter", "uvicorn.error", "uvicorn.access")
    before = [(logging.getLogger(name), logging.getLogger(name).level) for name in names]
    # configure() closes the handlers that it replaces: pytest's are put out of its reach.
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    yield
    for logger, level in before:
        logger.setLevel(level)
        logger.disabled = False


def configured(level: str = "info", style: Format = "logfmt") -> io.StringIO:
    stream = io.StringIO()
    configure(level, style, stream)
    return stream


def fail(message: str) -> OSError:
    try:
        raise_it(message)
    except OSError as error:
        return error


def raise_it(message: str) -> NoReturn:
    raise OSError(message)  # the place that `at` names


def test_a_line_has_time_level_message_and_fields() -> None:
    stream = configured()
    log.info("Listening on", extra=fields(address="[::]:10066", tls=False))
    stamp, rest = stream.getvalue().split(" ", 1)
    assert re.fullmatch(r"time=\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", stamp)
    assert rest == 'level=info msg="Listening on" address=[::]:10066 tls=false\n'


def test_the_time_is_utc_to_the_millisecond() -> None:
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
    ("value", "written"),
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
def test_logfmt_quotes_what_would_break_a_line_or_a_terminal(value: object, written: str) -> None:
    stream = configured()
    log.info("x", extra=fields(value=value))
    assert stream.getvalue().endswith(f"msg=x value={written}\n")


@pytest.mark.parametrize("style", ["logfmt", "json"])
@pytest.mark.parametrize("level", ["info", "debug"])
def test_an_exception_is_one_line_and_traced_only_at_debug(style: Format, level: str) -> None:
    stream = configured(level, style)
    log.error("Collection failed\n", exc_info=fail("no\nfile"))
    text = stream.getvalue()
    assert text.count("\n") == 1
    assert ("Traceback (most recent call last)" in text) == (level == "debug")
    assert "OSError: no\\nfile" in text
    at = re.search(r"test_logs\.py:(\d+)", text)
    assert at
    assert "the place that `at` names" in Path(__file__).read_text().splitlines()[int(at[1]) - 1]
    assert "Collection failed\\n" not in text


def test_an_exception_that_was_never_raised_has_no_place() -> None:
    stream = configured()
    log.error("x", exc_info=ValueError("y"))
    assert stream.getvalue().endswith('msg=x error="ValueError: y"\n')


@pytest.mark.parametrize(
    ("level", "heard"),
    [
        ("debug", ["debug", "info", "warn", "error"]),
        ("info", ["info", "warn", "error"]),
        ("warn", ["warn", "error"]),
        ("error", ["error"]),
    ],
)
def test_ours_are_heard_from_the_level_on(level: str, heard: list[str]) -> None:
    stream = configured(level)
    for number in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR):
        log.log(number, "x")
    assert re.findall(r"level=(\w+)", stream.getvalue()) == heard


@pytest.mark.parametrize("name", ["uvicorn.error", "asyncio"])
def test_libraries_are_heard_from_warn_on_in_our_format(name: str) -> None:
    stream = configured("debug")
    logging.getLogger(name).info("chatter")
    logging.getLogger(name).warning("Invalid HTTP request received.")
    assert stream.getvalue().count("\n") == 1
    assert 'level=warn msg="Invalid HTTP request received."' in stream.getvalue()


def test_requests_are_not_logged() -> None:
    stream = configured("debug")
    logging.getLogger("uvicorn.access").error("GET /metrics")
    assert stream.getvalue() == ""


def test_the_last_configuration_holds() -> None:
    first, second = configured(), configured()
    log.info("x")
    assert first.getvalue() == ""
    assert second.getvalue().count("\n") == 1


@pytest.mark.parametrize("level", ["loud", "INFO", "warning", ""])
def test_an_unknown_level_is_named(level: str) -> None:
    with pytest.raises(ValueError, match=f"unknown log level '{level}': one of debug, info, warn, error"):
        configure(level, "logfmt")


def test_an_unknown_format_is_named() -> None:
    with pytest.raises(ValueError, match="unknown log format 'xml': logfmt or json"):
        configure("info", "xml")  # type: ignore[arg-type]


class TestOnce:
    def test_a_lasting_problem_is_one_warning(self) -> None:
        stream, once = configured(), Once(log)
        for seconds in range(3):
            once.problem("owners", "Cannot read owners", pid=7, seconds=seconds)
        assert stream.getvalue().count("\n") == 1
        assert 'level=warn msg="Cannot read owners" pid=7 seconds=0' in stream.getvalue()

    def test_another_message_or_kind_of_error_is_logged_again(self) -> None:
        stream, once = configured(), Once(log)
        once.problem("owners", "Cannot read owners", error=fail("pid 1"))
        once.problem("owners", "Cannot read owners", error=fail("pid 2"))
        once.problem("owners", "Cannot read owners", error=PermissionError())
        once.problem("owners", "Cannot see owners", error=PermissionError())
        lines = stream.getvalue().splitlines()
        assert ["pid 1" in lines[0], "PermissionError" in lines[1], "Cannot see" in lines[2]] == [True] * 3
        assert len(lines) == 3

    def test_the_end_of_a_problem_is_logged_once(self) -> None:
        stream, once = configured(), Once(log)
        once.problem("owners", "Cannot read owners")
        once.solved("owners", "Owners are read again", collector="owners")
        once.solved("owners", "Owners are read again", collector="owners")
        assert stream.getvalue().count("again") == 1
        assert 'level=info msg="Owners are read again" collector=owners' in stream.getvalue()

    def test_a_problem_that_comes_back_is_logged_again(self) -> None:
        stream, once = configured(), Once(log)
        for _ in range(2):
            once.problem("owners", "Cannot read owners")
            once.solved("owners", "Owners are read again")
        assert stream.getvalue().count("Cannot") == 2

    def test_what_was_no_problem_is_not_solved(self) -> None:
        stream, once = configured(), Once(log)
        once.problem("limits", "Cannot read limits")
        once.solved("owners", "Owners are read again")
        assert "again" not in stream.getvalue()
