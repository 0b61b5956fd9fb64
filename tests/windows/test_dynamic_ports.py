"""The dynamic port range, as netsh prints it."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

from exporter.model.host import EphemeralRange
from exporter.windows import dynamic_ports
from exporter.windows.dynamic_ports import DynamicPortReader, parse_dynamic_port_range

from ..systems import needs_posix

ENGLISH = """
Protocol tcp Dynamic Port Range
---------------------------------
Start Port      : 49152
Number of Ports : 16384

"""
GERMAN = """
Dynamischer Portbereich für Protokoll "tcp"
---------------------------------
Startport       : 1025
Anzahl der Ports: 64511
"""
JAPANESE = """
プロトコル tcp の動的ポートの範囲
---------------------------------
開始ポート      : 10000
ポート数        : 1000
"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (ENGLISH, EphemeralRange(49152, 65535)),
        (ENGLISH.replace("\n", "\r\n"), EphemeralRange(49152, 65535)),
        (GERMAN, EphemeralRange(1025, 65535)),
        (JAPANESE, EphemeralRange(10000, 10999)),
        (JAPANESE.encode("cp932").decode("ascii", "replace"), EphemeralRange(10000, 10999)),
        (GERMAN.encode("cp850").decode("ascii", "replace"), EphemeralRange(1025, 65535)),
    ],
)
def test_range_is_read_in_every_language(text: str, expected: EphemeralRange) -> None:
    assert parse_dynamic_port_range(text) == expected


@pytest.mark.parametrize("text", ["", "Access is denied.", "a : 1\n", "a : 0\nb : 1\n", "a : 65535\nb : 2\n"])
def test_anything_else_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="port"):
        parse_dynamic_port_range(text)


def test_each_family_has_its_range_and_is_read_every_five_minutes() -> None:
    now, calls = 0.0, list[str]()

    def run_netsh(family: str) -> str:
        calls.append(family)
        return ENGLISH if family == "ipv4" else GERMAN

    reader = DynamicPortReader(run_netsh, lambda: now)
    expected = {"ipv4": EphemeralRange(49152, 65535), "ipv6": EphemeralRange(1025, 65535)}
    assert reader.ranges() == expected
    now = 299.0
    reader.ranges()
    assert calls == ["ipv4", "ipv6"]
    now = 300.0
    reader.ranges()
    assert len(calls) == 4


@pytest.mark.parametrize("error", [OSError(), subprocess.TimeoutExpired("netsh", 10)])
def test_family_that_cannot_be_read_is_absent(error: Exception) -> None:
    def run_netsh(family: str) -> str:
        if family == "ipv6":
            raise error
        return ENGLISH

    assert DynamicPortReader(run_netsh).ranges() == {"ipv4": EphemeralRange(49152, 65535)}


@pytest.fixture
def netsh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the path of netsh.exe on a system of which nothing else exists."""
    path = tmp_path / "System32" / "netsh.exe"
    path.parent.mkdir()
    monkeypatch.setenv("SYSTEMROOT", str(tmp_path))
    return path


def install(netsh: Path, **answers: bytes) -> None:
    """Write a program that prints the answer for a family, and fails for any other arguments."""
    branches = []
    for family, answer in answers.items():
        (netsh.parent / family).write_bytes(answer)
        branches.append(f'"int {family} show dynamicport tcp") cat "${{0%/*}}/{family}" ;;')
    netsh.write_text("\n".join(["#!/bin/sh", 'case "$*" in', *branches, "*) exit 1 ;;", "esac"]))
    netsh.chmod(0o755)


@needs_posix
@pytest.mark.parametrize(("text", "code_page"), [(GERMAN, "cp850"), (JAPANESE, "cp932"), (ENGLISH, "cp437")])
def test_netsh_is_run_for_each_family_in_the_code_page_of_the_system(
    netsh: Path, text: str, code_page: str
) -> None:
    printed = text.replace("\n", "\r\n").encode(code_page)
    install(netsh, ipv4=printed, ipv6=printed)
    expected = parse_dynamic_port_range(text)
    assert DynamicPortReader().ranges() == {"ipv4": expected, "ipv6": expected}


@needs_posix
def test_family_for_which_netsh_fails_is_absent(netsh: Path) -> None:
    install(netsh, ipv4=ENGLISH.encode())
    assert DynamicPortReader().ranges() == {"ipv4": EphemeralRange(49152, 65535)}


@needs_posix
def test_netsh_that_hangs_is_stopped(netsh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dynamic_ports, "_NETSH_TIMEOUT_SECONDS", 0.2)
    netsh.write_text("#!/bin/sh\nexec sleep 60\n")
    netsh.chmod(0o755)
    begin = time.monotonic()
    assert DynamicPortReader().ranges() == {}
    assert time.monotonic() - begin < 10


def test_system_without_netsh_has_no_ranges(netsh: Path) -> None:
    assert not netsh.exists()
    assert DynamicPortReader().ranges() == {}
