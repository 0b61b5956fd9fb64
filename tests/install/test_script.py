"""deploy/systemd/install.sh and uninstall.sh: a virtual environment below /opt and its service."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from .conftest import OFFLINE, ROOT
from .machine import Machine
from .serving import DEFAULTS, NAME, UNIT, check, served_version, show

pytestmark = pytest.mark.install

SCRIPT: Final = "/root/install.sh"
COMMAND: Final = f"/usr/local/bin/{NAME}"


@pytest.fixture(scope="module")
def installed(supplied: Machine, wheel: Path) -> Machine:
    """Return a machine with the exporter installed by the script and the wheel only."""
    supplied.put(ROOT / "deploy/systemd/install.sh", SCRIPT)
    install(supplied, wheel)
    return supplied


def install(machine: Machine, wheel: Path, check: bool = True) -> str:
    """Run the install script and return its output."""
    done = machine.run(SCRIPT, machine.put(wheel, f"/root/{wheel.name}"), env=OFFLINE, check=check)
    return done.stdout + done.stderr


def venvs(machine: Machine) -> list[Path]:
    return list(machine.path(f"/opt/{NAME}").glob("venv.*"))


def test_service_runs_after_installation_and_resolves_owners(installed: Machine) -> None:
    check(installed)
    assert installed.run("systemctl", "is-enabled", UNIT).stdout == "enabled\n"
    assert installed.run("systemd-analyze", "verify", "--man=no", UNIT).stderr == ""
    assert installed.run(COMMAND, "--version").stdout.startswith(f"{NAME} ")
    assert installed.path(f"/usr/local/share/man/man1/{NAME}.1").exists()
    assert installed.path(f"/usr/local/share/bash-completion/completions/{NAME}").exists()


def test_second_run_is_idempotent_and_keeps_one_venv(installed: Machine, wheel: Path) -> None:
    (before,) = venvs(installed)
    output = install(installed, wheel)
    (after,) = venvs(installed)
    assert before != after
    assert f"{NAME} is running" in output
    check(installed)


def test_upgrade_serves_the_new_version_and_keeps_flags(installed: Machine, newer_wheel: Path) -> None:
    flags = 'ARGS="--log.level=info"\n# mine\n'
    installed.path(DEFAULTS).write_text(flags)
    install(installed, newer_wheel)
    assert served_version(installed) == "99.0"
    assert installed.path(DEFAULTS).read_text() == flags
    check(installed)


def test_failed_installation_keeps_the_old_version_running(installed: Machine, tmp_path: Path) -> None:
    before = venvs(installed)
    broken = tmp_path / "socket_state_exporter-100.0-py3-none-any.whl"
    broken.write_text("no wheel")
    assert "is running" not in install(installed, broken, check=False)
    assert venvs(installed) == before
    assert served_version(installed) == "99.0"


def test_version_that_does_not_start_is_rolled_back(installed: Machine, wheel: Path) -> None:
    """A drop-in fails for the new version only; removed flags would fail with the old version too."""
    before = venvs(installed)
    drop_ins = installed.path(f"/etc/systemd/system/{UNIT}.d")
    drop_ins.mkdir()
    # Fails for any version but the one that serves.
    (drop_ins / "gate.conf").write_text(
        f"[Service]\nExecStartPre=/bin/sh -c 'readlink {COMMAND} | grep -q {before[0].name}'\n"
    )
    output = install(installed, wheel, check=False)
    assert "the new version does not start (see above); the old version is running again" in output
    assert venvs(installed) == before
    assert served_version(installed) == "99.0"
    (drop_ins / "gate.conf").unlink()
    check(installed)


def test_uninstall_keeps_only_the_flags(installed: Machine) -> None:
    """This must be the last test of the file."""
    output = installed.run(f"/opt/{NAME}/uninstall.sh").stdout
    assert output == f"kept: {DEFAULTS}\n"
    assert show(installed, "ActiveState", "LoadState") == ["inactive", "not-found"]
    assert left(installed) == [DEFAULTS, f"/etc/systemd/system/{UNIT}.d"]
    installed.put(ROOT / "deploy/systemd/uninstall.sh", "/root/uninstall.sh")
    installed.run("/root/uninstall.sh", "--purge")
    assert left(installed) == []


def left(machine: Machine) -> list[str]:
    """Return files of the exporter that are left, except systemd's own records."""
    found = machine.run(
        "find",
        "/",
        "-xdev",
        "-name",
        f"*{NAME}*",
        "-not",
        "-path",
        "/root/*",
        "-not",
        "-path",
        "*/lib/private/*",
    )
    return sorted(found.stdout.splitlines())
