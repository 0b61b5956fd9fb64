"""The systemd unit as checked by systemd's tools; tests/install runs it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from ..live.helpers import UNPRIVILEGED
from ..systems import needs_linux
from ..tools import require
from .units import FOLDER, UNIT, capabilities, settings

MOST_EXPOSED = 25
"""systemd-analyze's tenths: 2.5 of 10."""


@require("systemd-analyze")
def test_systemd_exposure_is_low() -> None:
    judged = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", f"--threshold={MOST_EXPOSED}", "--no-pager", UNIT],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert judged.returncode == 0, judged.stdout + judged.stderr


@require("systemd-analyze")
def test_exposure_check_detects_a_missing_sandbox(tmp_path: Path) -> None:
    bare = tmp_path / UNIT.name
    lines = UNIT.read_text().splitlines(keepends=True)
    bare.write_text("".join(line for line in lines if not line.startswith("SystemCallFilter=")))
    judged = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", f"--threshold={MOST_EXPOSED}", "--no-pager", bare],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert judged.returncode == 1


@require("systemd-analyze")
def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    """Return the unit with another program instead of the exporter, which need not be installed."""
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text().replace("ExecStart=socket-state-exporter", "ExecStart=sh"))
    verified = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", copy], capture_output=True, text=True, check=False
    )
    assert (verified.returncode, verified.stderr) == (0, "")


def test_unit_grants_two_capabilities_only() -> None:
    assert capabilities() == {"CAP_SYS_PTRACE", "CAP_DAC_READ_SEARCH"}
    service = settings("Service")
    assert service["AmbientCapabilities"] == service["CapabilityBoundingSet"]
    assert service["NoNewPrivileges"] == ["yes"]


def test_sandbox_does_not_hide_processes_or_sockets() -> None:
    assert not {"ProtectProc", "ProcSubset", "PrivateUsers", "PrivateNetwork"} & settings("Service").keys()


def test_flags_come_from_an_optional_file() -> None:
    service = settings("Service")
    assert service["EnvironmentFile"] == ["-/etc/default/socket-state-exporter"]
    assert service["ExecStart"] == ["socket-state-exporter $ARGS"]
    assert service["Type"] == ["notify"]


@pytest.mark.skipif(not shutil.which("dash"), reason="needs dash")
@pytest.mark.parametrize("script", sorted(FOLDER.glob("*.sh")), ids=lambda path: path.name)
def test_scripts_are_posix_shell(script: Path) -> None:
    subprocess.run(["dash", "-n", script], check=True)
    assert script.read_text().startswith("#!/bin/sh\n")


@needs_linux
def test_scripts_require_root() -> None:
    as_nobody = UNPRIVILEGED if os.geteuid() == 0 else ()
    if as_nobody and not shutil.which(as_nobody[0]):
        pytest.skip("needs setpriv (Debian package util-linux)")
    for script in FOLDER.glob("*.sh"):
        refused = subprocess.run(
            [*as_nobody, "sh", "-s"], input=script.read_text(), capture_output=True, text=True, check=False
        )
        assert refused.returncode == 1
        assert "must be run as root" in refused.stderr
