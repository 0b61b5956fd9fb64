"""The HTTP server on Windows' event loop: how connections end, and how the server does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from .clients import (
    ends_of_cut_connections,
    fetch,
    fetch_when_ready,
    metric,
    read_and_close,
    send_and_wait,
    serving,
    states,
)
from .windows import Windows, stop, windows_path

pytestmark = pytest.mark.wine

PORT: Final = 10070


@pytest.fixture(scope="module", autouse=True)
def _server(windows: Windows) -> Iterator[None]:
    windows.drop_sockets()
    with serving(windows, PORT):
        yield


def test_invalid_request_is_answered_and_leaves_no_time_wait(windows: Windows) -> None:
    answer = windows.namespace.call(send_and_wait, PORT, b"GARBAGE\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400")
    assert states(windows, PORT) == ["LISTEN"]


def test_incomplete_request_is_reset_after_its_timeout(windows: Windows) -> None:
    assert windows.namespace.call(send_and_wait, PORT, b"GET / HTTP/1.1\r\n") == b"RESET"
    assert states(windows, PORT) == ["LISTEN"]


def test_cut_connections_are_reset_and_leave_no_time_wait(windows: Windows) -> None:
    server = windows.popen_python(Path(__file__).with_name("limited_server.py"), str(PORT + 5), "2", "1.5")
    try:
        fetch_when_ready(windows, PORT + 5, "/")
        assert windows.namespace.call(ends_of_cut_connections, PORT + 5) == {
            "evicted": b"RESET",
            "request timeout": b"RESET",
            "body too large": b"HTTP/1.1 413RESET",
        }
        assert set(states(windows, PORT + 5)) == {"LISTEN"}
    finally:
        stop(server)


def test_client_that_closes_first_has_the_time_wait(windows: Windows) -> None:
    windows.namespace.call(read_and_close, PORT)
    assert states(windows, PORT) == ["LISTEN"]


def test_exporter_has_metrics_about_its_process(windows: Windows) -> None:
    text = windows.namespace.call(fetch, PORT)
    assert 1e7 < metric(text, "process_resident_memory_bytes") < 1e9
    assert 1e6 < metric(text, "process_virtual_memory_bytes") < 1e10
    assert metric(text, "process_cpu_seconds_total") > 0
    assert metric(text, "process_start_time_seconds") > 1.7e9
    assert "process_max_fds" not in text


def test_ctrl_break_ends_the_server_in_order(windows: Windows, tmp_path: Path) -> None:
    # Without a console Wine sends no event: the signal is raised as its handler would do it.
    program = tmp_path / "press_break.py"
    program.write_text(PRESS_BREAK)
    done = windows.python(program)
    assert done.stdout.splitlines()[-1] == "exit status 0"
    assert done.stderr.splitlines()[-1].endswith("msg=Stopped")


PRESS_BREAK: Final = """
import logging, signal, threading
from exporter.__main__ import main
class Press(logging.Handler):
    def emit(self, record):
        if record.getMessage() == "Listening on":
            threading.Timer(0.5, signal.raise_signal, [signal.SIGBREAK]).start()
logging.getLogger("exporter").addHandler(Press())
print("exit status", main(["--web.listen-address=127.0.0.1:10072"]))
"""


def test_console_that_closes_stops_the_server_before_the_process_ends(
    windows: Windows, tmp_path: Path
) -> None:
    # Wine has no window to close: the handler is called as Windows calls it, in a thread of its own.
    program = tmp_path / "close_console.py"
    program.write_text(CLOSE_CONSOLE)
    done = windows.python(program)
    assert done.stdout.splitlines()[-1] == "handled True, stopped True"


CLOSE_CONSOLE: Final = """
import logging, threading, time
from exporter import cli
from exporter.windows import console
handlers = []
original = console.ConsoleEvents.install
def install(self):
    original(self)
    handlers.append(self)
console.ConsoleEvents.install = install
class Close(logging.Handler):
    def emit(self, record):
        if record.getMessage() == "Listening on":
            threading.Thread(target=close).start()
results = []
def close():
    results.append((handlers[0]._handler(2), handlers[0].stopped.is_set()))
logging.getLogger("exporter").addHandler(Close())
from exporter.__main__ import main
assert main(["--web.listen-address=127.0.0.1:10073"]) == 0
while not results:
    time.sleep(0.1)
print("handled {}, stopped {}".format(bool(results[0][0]), results[0][1]))
"""


def test_missing_dll_is_named_without_a_traceback(windows: Windows, tmp_path: Path) -> None:
    (tmp_path / "bcrypt").mkdir()
    (tmp_path / "bcrypt" / "__init__.py").write_text("from . import _bcrypt")
    (tmp_path / "bcrypt" / "_bcrypt.pyd").write_bytes(b"not a DLL")
    config = tmp_path / "web.yml"
    config.write_text("basic_auth_users: {user: x}")
    program = (
        "import sys; sys.path.insert(0, sys.argv.pop(1)); from exporter.__main__ import main; exit(main())"
    )
    done = windows.python("-c", program, tmp_path, "--web.config.file", config, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(
        f"socket-state-exporter: {windows_path(config)}: cannot load _bcrypt: DLL load failed"
    )
    assert "Traceback" not in done.stderr


def test_output_is_utf8_and_has_names_outside_the_code_page(windows: Windows, tmp_path: Path) -> None:
    program = tmp_path / "names.py"
    program.write_text(NAMES, encoding="utf-8")
    done = windows.python(program)
    assert done.stdout == "Печать 印刷\n"
    assert 'name="Печать 印刷"' in done.stderr


NAMES: Final = """
import logging
from exporter.log import configure_logging, fields
from exporter.output import print_text, use_utf8
use_utf8()
configure_logging("info", "logfmt")
print_text("Печать 印刷\\n")
logging.getLogger("exporter").info("Name", extra=fields(name="Печать 印刷"))
"""


def test_help_and_explain_are_utf8(windows: Windows) -> None:
    assert "usage:" in windows.python("-m", "exporter", "--help").stdout
    assert windows.python("-m", "exporter", "explain", "--json", check=False).returncode in (0, 1)
