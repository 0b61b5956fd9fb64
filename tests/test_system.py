"""Objects that ask the operating system, chosen by platform."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from exporter import system
from exporter.model.host import EphemeralRange, SysctlLimits
from exporter.portable.psutil_process import PsutilProcessReader
from exporter.procfs.process_reader import ProcfsProcessReader
from exporter.windows.iphlpapi_source import IphlpapiSource
from exporter.windows.windows_limits import WindowsLimitsReader
from exporter.windows.windows_processes import WindowsProcessReader


@pytest.mark.parametrize(
    ("platform", "source", "reader"),
    [
        ("linux", "netlink", ProcfsProcessReader),
        ("linux", "psutil", ProcfsProcessReader),
        ("win32", "iphlpapi", WindowsProcessReader),
        ("win32", "psutil", PsutilProcessReader),
        ("darwin", "psutil", PsutilProcessReader),
        ("freebsd14", "psutil", PsutilProcessReader),
    ],
)
def test_process_reader_of_each_system(
    monkeypatch: pytest.MonkeyPatch, platform: str, source: str, reader: type
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    assert isinstance(system.build_process_reader(source, Path("/proc")), reader)


def test_limits_of_each_system(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    sysctls = tmp_path / "sys/net/ipv4"
    sysctls.mkdir(parents=True)
    (sysctls / "ip_local_port_range").write_text("32768\t60999\n")
    windows_limits = SysctlLimits(time_wait_seconds=30.0)
    monkeypatch.setattr(WindowsLimitsReader, "read", lambda _: windows_limits)
    ranges = {}
    for platform in ("linux", "win32", "darwin", "freebsd14"):
        with monkeypatch.context() as patch:
            patch.setattr(sys, "platform", platform)
            limits = system.build_host_readers(tmp_path).read_limits()
        ranges[platform] = (limits.ephemeral, limits.time_wait_seconds)
    assert ranges == {
        "linux": (EphemeralRange(32768, 60999), 60.0),
        "win32": (None, 30.0),
        "darwin": (None, None),
        "freebsd14": (None, None),
    }


def test_source_of_windows_is_built_without_importing_it_elsewhere() -> None:
    code = "import sys, exporter.cli; print([name for name in sys.modules if 'exporter.windows' in name])"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output == "[]\n" or sys.platform == "win32"
    assert isinstance(system.windows_host().build_source(), IphlpapiSource)
    assert system.windows_host().build_source().name == "iphlpapi"
