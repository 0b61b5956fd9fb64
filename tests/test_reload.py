"""The configuration is reloaded at SIGHUP; an invalid one changes nothing."""

from __future__ import annotations

import logging
import signal
import sys
from pathlib import Path

import pytest

from exporter.config.exporter_config import Config
from exporter.http.middleware import WebConfig
from exporter.reload import ConfigReloader

from .running import Exporter, running, until, value

SUCCESSFUL = "socket_exporter_config_last_reload_successful"
TIMESTAMP = "socket_exporter_config_last_reload_success_timestamp_seconds"


class AppliedConfigs(list[Config]):
    """The configurations that were applied, in order."""

    def __call__(self, config: Config, _web: WebConfig) -> None:
        self.append(config)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "config.yml"
    path.write_text("max_processes: 7\n")
    return path


def test_reload_applies_the_file_and_records_its_time(file: Path) -> None:
    clock = iter([100.0, 200.0])
    reloader, applied = ConfigReloader(str(file), now=clock.__next__), AppliedConfigs()
    assert reloader.status == (True, 100.0)
    file.write_text("max_processes: 8\n")
    reloader.reload(applied)
    assert [config.max_processes for config in applied] == [8]
    assert reloader.status == (True, 200.0)


@pytest.mark.parametrize("content", ["max_processes: many\n", "{", None], ids=["value", "yaml", "gone"])
def test_invalid_configuration_keeps_the_previous_one(
    file: Path, content: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    reloader, applied = ConfigReloader(str(file), now=iter([100.0, 300.0]).__next__), AppliedConfigs()
    file.unlink() if content is None else file.write_text(content)
    reloader.reload(applied)
    assert not applied
    assert reloader.status == (False, 100.0)
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.message == "Error reloading configuration, keeping the previous one"
    assert record.fields["err"].args[0].startswith(f"{file}: ")  # type: ignore[attr-defined]
    file.write_text("max_processes: 9\n")
    reloader.reload(applied)
    assert [config.max_processes for config in applied] == [9]
    assert reloader.status == (True, 300.0)


def test_reload_without_a_file_applies_the_defaults() -> None:
    reloader, applied = ConfigReloader(None), AppliedConfigs()
    reloader.reload(applied)
    assert (list(applied), reloader.status.success) == ([Config()], True)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGHUP")
def test_sighup_applies_names_and_keeps_them_if_invalid(tmp_path: Path) -> None:
    file = tmp_path / "config.yml"
    file.write_text('process_names: [{name: "before", cmdline: ["."]}]\n')
    with running(tmp_path / "log", f"--config.file={file}") as exporter:
        started = value(exporter.get(), TIMESTAMP)
        assert started
        assert process_names(exporter) == {"before"}
        file.write_text('process_names: [{name: "after:{{.Username}}", cmdline: ["."]}]\n')
        send_sighup(exporter, 1.0, since=started)
        assert {name.partition(":")[0] for name in process_names(exporter)} == {"after"}
        file.write_text("process_names: nonsense\n")
        send_sighup(exporter, 0.0)
        assert {name.partition(":")[0] for name in process_names(exporter)} == {"after"}
        assert "process_names" in exporter.log.read_text()


def process_names(exporter: Exporter) -> set[str]:
    """Return the names of the listening processes that have one."""
    lines = [line for line in exporter.get().splitlines() if line.startswith("socket_listener_accept")]
    return {line.partition('process="')[2].partition('"')[0] for line in lines} - {"unknown"}


def send_sighup(exporter: Exporter, expected: float, since: float = 0.0) -> None:
    """Send SIGHUP and wait until the metrics show the outcome."""
    exporter.process.send_signal(signal.SIGHUP)
    for _ in until(f"the last reload is {expected}"):
        text = exporter.get()
        if value(text, SUCCESSFUL) == expected and (value(text, TIMESTAMP) or 0) > since:
            return
