"""`pipx install` of the wheel, for a user and for the host, and the service for the latter."""

from __future__ import annotations

from pathlib import Path

import pytest

from .conftest import OFFLINE
from .machine import Machine
from .serving import DEFAULTS, NAME, check, served_version, show

pytestmark = pytest.mark.install


def test_command_and_man_page_are_available_to_users(supplied: Machine, wheel: Path) -> None:
    supplied.run("useradd", "--create-home", "ann")
    shared = supplied.put(wheel, f"/srv/{wheel.name}")
    supplied.run("cp", "-r", "/root/packages", "/srv/packages")
    offline = {**OFFLINE, "PIP_FIND_LINKS": "/srv/packages", "HOME": "/home/ann"}
    ann = ("setpriv", "--reuid=ann", "--regid=ann", "--init-groups")
    supplied.run(*ann, "pipx", "install", shared, env=offline)
    command = f"/home/ann/.local/bin/{NAME}"
    assert supplied.run(*ann, command, "--version").stdout.startswith(f"{NAME} ")
    assert "socket_host_states" in supplied.run(*ann, command, "--once").stdout
    assert "written" in supplied.run(*ann, command, "assets", "/home/ann/assets").stdout
    shares = supplied.path(f"/home/ann/.local/pipx/venvs/{NAME}/share")
    assert (shares / f"man/man1/{NAME}.1").exists()
    assert (shares / f"bash-completion/completions/{NAME}").exists()
    supplied.run(*ann, "pipx", "uninstall", NAME, env=offline)
    assert not supplied.path(command).exists()


GLOBAL = {"PIPX_HOME": "/opt/pipx", "PIPX_BIN_DIR": "/usr/local/bin"}


def test_service_runs_the_command_installed_by_pipx(
    supplied: Machine, wheel: Path, newer_wheel: Path
) -> None:
    """Follow the README."""
    env = {**OFFLINE, **GLOBAL}
    supplied.run("pipx", "install", supplied.put(wheel, f"/root/{wheel.name}"), env=env)
    supplied.run(NAME, "assets", "/root/assets")
    supplied.run("/root/assets/deploy/systemd/install.sh")
    check(supplied)

    supplied.path(DEFAULTS).write_text('ARGS=""\n# mine\n')
    supplied.run(
        "pipx", "install", "--force", supplied.put(newer_wheel, f"/root/{newer_wheel.name}"), env=env
    )
    supplied.run(NAME, "assets", "/root/assets")
    supplied.run("/root/assets/deploy/systemd/install.sh")
    assert served_version(supplied) == "99.0"
    assert supplied.path(DEFAULTS).read_text().endswith("# mine\n")

    supplied.run("/root/assets/deploy/systemd/uninstall.sh")
    assert show(supplied, "LoadState") == ["not-found"]
    assert supplied.path(f"/usr/local/bin/{NAME}").is_symlink()
    supplied.run("pipx", "uninstall", NAME, env=env)
    assert not supplied.path(f"/usr/local/bin/{NAME}").is_symlink()


def test_service_for_a_command_in_a_home_directory_is_refused(supplied: Machine) -> None:
    """The service could not read it; the message replaces systemd's status 203."""
    supplied.run("ln", "-s", f"/root/.local/bin/{NAME}", f"/usr/local/bin/{NAME}")
    supplied.run("install", "-D", "/bin/true", f"/root/.local/bin/{NAME}")
    refused = supplied.run("/root/assets/deploy/systemd/install.sh", check=False)
    assert refused.returncode == 1
    assert "is a link into a home directory" in refused.stderr
    assert show(supplied, "LoadState") == ["not-found"]
