"""Privilege by effective capabilities."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from exporter.model.privilege import Privilege
from exporter.procfs.own_capabilities import read_capabilities

from ..live.helpers import UNPRIVILEGED

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")

# capabilities(7): CAP_DAC_OVERRIDE is bit 1, CAP_DAC_READ_SEARCH bit 2, CAP_SYS_PTRACE bit 19.
PTRACE: Final = 0x80000


@pytest.mark.parametrize(
    ("capabilities", "uid", "privilege"),
    [
        (PTRACE | 0x4, 1000, Privilege.FULL),
        (PTRACE | 0x2, 1000, Privilege.FULL),
        (PTRACE, 1000, Privilege.NONE),
        (0x4, 1000, Privilege.NONE),
        (0, 0, Privilege.ROOT_WITHOUT_CAPABILITIES),
        (PTRACE, 0, Privilege.ROOT_WITHOUT_CAPABILITIES),
        (0x1FFFFFFFFFF, 0, Privilege.FULL),
    ],
)
def test_both_capabilities_are_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capabilities: int, uid: int, privilege: Privilege
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    (tmp_path / "self").mkdir()
    (tmp_path / "self/status").write_text(f"Name:\tcat\nCapEff:\t{capabilities:016x}\nCapBnd:\t0\n")
    assert read_capabilities(tmp_path) is privilege


@pytest.mark.parametrize("status", [None, "", "CapEff:\n", "CapEff:\tx\n"])
def test_user_decides_if_capabilities_are_unreadable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: str | None
) -> None:
    if status is not None:
        (tmp_path / "self").mkdir()
        (tmp_path / "self/status").write_text(status)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert read_capabilities(tmp_path) is Privilege.FULL
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert read_capabilities(tmp_path) is Privilege.NONE


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="needs root")
@pytest.mark.parametrize(
    ("prefix", "privilege"),
    [
        ([], Privilege.FULL),
        (UNPRIVILEGED, Privilege.NONE),
        (["setpriv", "--bounding-set=-sys_ptrace"], Privilege.ROOT_WITHOUT_CAPABILITIES),
        (
            [
                *("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"),
                *("--inh-caps=+sys_ptrace,+dac_read_search", "--ambient-caps=+sys_ptrace,+dac_read_search"),
            ],
            Privilege.FULL,
        ),
    ],
)
def test_privilege_of_a_real_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prefix: list[str], privilege: Privilege
) -> None:
    status = subprocess.run([*prefix, "cat", "/proc/self/status"], capture_output=True, check=True).stdout
    (tmp_path / "self").mkdir()
    (tmp_path / "self/status").write_bytes(status)
    (uids,) = [line for line in status.splitlines() if line.startswith(b"Uid:")]
    monkeypatch.setattr(os, "geteuid", lambda: int(uids.split()[2]))
    assert read_capabilities(tmp_path) is privilege
