"""The file of --log.file."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from exporter.log_file import LogFileHandler


def log(handler: logging.Handler, text: str) -> None:
    handler.handle(logging.makeLogRecord({"msg": text}))


def test_folder_is_created_and_text_is_utf8(tmp_path: Path) -> None:
    path = tmp_path / "new" / "exporter.log"
    handler = LogFileHandler(path)
    log(handler, "Печать 印刷 \udcff")
    handler.close()
    assert path.read_text(encoding="utf-8") == "Печать 印刷 \\udcff\n"


def test_full_file_becomes_the_first_of_the_previous_ones(tmp_path: Path) -> None:
    path = tmp_path / "exporter.log"
    handler = LogFileHandler(path, max_bytes=100, previous_files=2)
    for number in range(20):
        log(handler, f"line {number:02} ".ljust(40, "-"))
    handler.close()
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "exporter.log",
        "exporter.log.1",
        "exporter.log.2",
    ]
    assert path.read_text().splitlines()[-1].startswith("line 19")
    assert all(file.stat().st_size <= 100 for file in tmp_path.iterdir())


def test_file_that_cannot_be_renamed_stays_within_its_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError("the file is open in another program")

    monkeypatch.setattr("os.rename", refuse)
    path = tmp_path / "exporter.log"
    handler = LogFileHandler(path, max_bytes=100, previous_files=2)
    for number in range(20):
        log(handler, f"line {number:02} ".ljust(40, "-"))
    handler.close()
    assert path.stat().st_size <= 100
    assert path.read_text().splitlines()[-1].startswith("line 19")


def test_default_limits() -> None:
    from exporter import log_file

    assert log_file.MAX_LOG_FILE_BYTES == 5 * 1024 * 1024
    assert log_file.PREVIOUS_LOG_FILES == 4
