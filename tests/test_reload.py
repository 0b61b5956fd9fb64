"""The configuration is read again at SIGHUP; one that cannot be used changes nothing."""

from __future__ import annotations

import logging
import signal
import sys
from pathlib import Path

import pytest

from exporter.config import Config
from exporter.exposition.web import Web
from exporter.reload import Configuration

from .running import Exporter, running, until, value

SUCCESSFUL = "socket_exporter_config_last_reload_successful"
TIMESTAMP = "socket_exporter_config_last_reload_success_timestamp_seconds"


class Use(list[Config]):
    """What was given to be used."""

    def __call__(self, config: Config, _web: Web) -> None:
        self.append(config)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "config.yml"
    path.write_text("max_processes: 7\n")
    return path


def test_what_is_read_is_used_and_its_time_told(file: Path) -> None:
    clock = iter([100.0, 200.0])
    configuration, use = Configuration(str(file), now=clock.__next__), Use()
    assert configuration.last == (True, 100.0)
    file.write_text("max_processes: 8\n")
    configuration.reload(use)
    assert [config.max_processes for config in use] == [8]
    assert configuration.last == (True, 200.0)


@pytest.mark.parametrize("content", ["max_processes: many\n", "{", None], ids=["value", "yaml", "gone"])
def test_the_old_one_stays_where_the_new_one_is_wrong(
    file: Path, content: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    configuration, use = Configuration(str(file), now=iter([100.0, 300.0]).__next__), Use()
    file.unlink() if content is None else file.write_text(content)
    configuration.reload(use)
    assert not use
    assert configuration.last == (False, 100.0)
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    file.write_text("max_processes: 9\n")
    configuration.reload(use)
    assert [config.max_processes for config in use] == [9]
    assert configuration.last == (True, 300.0)


def test_without_a_file_the_defaults_stay() -> None:
    configuration, use = Configuration(None), Use()
    configuration.reload(use)
    assert (list(use), configuration.last.successful) == ([Config()], True)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGHUP")
def test_a_running_exporter_takes_the_new_names_and_keeps_them_when_the_file_is_spoilt(
    tmp_path: Path,
) -> None:
    file = tmp_path / "config.yml"
    file.write_text('process_names: [{name: "before", cmdline: ["."]}]\n')
    with running(tmp_path / "log", f"--config.file={file}") as exporter:
        started = value(exporter.get(), TIMESTAMP)
        assert started
        assert names(exporter) == {"before"}
        file.write_text('process_names: [{name: "after:{{.Username}}", cmdline: ["."]}]\n')
        hang_up(exporter, 1.0, since=started)
        assert {name.partition(":")[0] for name in names(exporter)} == {"after"}
        file.write_text("process_names: nonsense\n")
        hang_up(exporter, 0.0)
        assert {name.partition(":")[0] for name in names(exporter)} == {"after"}
        assert "process_names" in exporter.log.read_text()


def names(exporter: Exporter) -> set[str]:
    """What the exporter calls the listening processes it can name."""
    lines = [line for line in exporter.get().splitlines() if line.startswith("socket_listener_accept")]
    return {line.partition('process="')[2].partition('"')[0] for line in lines} - {"unknown"}


def hang_up(exporter: Exporter, expected: float, since: float = 0.0) -> None:
    """Sends SIGHUP and waits until the metrics show what came of it."""
    exporter.process.send_signal(signal.SIGHUP)
    for _ in until(f"the last reload is {expected}"):
        text = exporter.get()
        if value(text, SUCCESSFUL) == expected and (value(text, TIMESTAMP) or 0) > since:
            return
