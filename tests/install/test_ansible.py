"""The role of deploy/ansible, run by Ansible in check mode, then twice."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from . import base
from .conftest import OFFLINE, ROOT
from .machine import Machine
from .serving import DEFAULTS, NAME, check, served_version, show

pytestmark = pytest.mark.install

_PLAYS: Final = "/root/ansible"


@pytest.fixture(scope="module")
def controller(supplied: Machine) -> Machine:
    """Return the machine with Ansible from requirements-ansible.lock, and with the role."""
    lock = ROOT / "requirements-ansible.lock"
    wheels = base.cache() / "ansible"
    shutil.rmtree(wheels, ignore_errors=True)
    subprocess.run(
        [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet", "--no-deps",
         "--only-binary", ":all:", "--python-version", "3.11", "--require-hashes", "--requirement", lock,
         "--dest", wheels],
        check=True,
    )  # fmt: skip
    shutil.copytree(wheels, supplied.path("/srv/wheels"))
    shutil.copytree(ROOT / "deploy/ansible", supplied.path(_PLAYS))
    supplied.run("python3", "-m", "venv", "/srv/ansible")
    pip = ("/srv/ansible/bin/pip", "install", "--quiet", "--require-hashes", "--requirement")
    supplied.run(*pip, supplied.put(lock, "/srv/lock"), env={**OFFLINE, "PIP_FIND_LINKS": "/srv/wheels"})
    return supplied


class Told(NamedTuple):
    """Result of a playbook run."""

    text: str
    failed: int
    changing: list[str]
    """Tasks that changed something, or would have in check mode."""


def play(machine: Machine, *flags: str, **variables: object) -> Told:
    """Run the playbook on the machine itself, with these variables of the role."""
    values = {f"socket_state_exporter_{name}": value for name, value in variables.items()}
    text = machine.run(
        "/srv/ansible/bin/ansible-playbook", "--connection=local", "--inventory=localhost,",
        f"--extra-vars={json.dumps(values)}", *flags, f"{_PLAYS}/playbook.yml",
        env={**OFFLINE, "LC_ALL": "C.UTF-8", "ANSIBLE_PYTHON_INTERPRETER": "/usr/bin/python3"},
        check=False,
    ).stdout  # fmt: skip
    recap = re.search(r"^localhost +: .*unreachable=0 +failed=(\d+)", text, re.MULTILINE)
    assert recap, text
    tasks = re.findall(
        r"^TASK \[socket_state_exporter : (.*?)\] \*+\n(.*?)\n\n", text, re.MULTILINE | re.DOTALL
    )
    assert tasks, text
    return Told(text, int(recap[1]), [name for name, result in tasks if "changed: [localhost]" in result])


def test_check_mode_reports_changes_without_making_them(controller: Machine, wheel: Path) -> None:
    result = play(controller, "--check", wheel=controller.put(wheel, f"/srv/{wheel.name}"))
    assert result.failed == 0, result.text
    assert "Install the exporter" in result.changing
    assert not controller.path(f"/opt/{NAME}").exists()
    assert not controller.path(DEFAULTS).exists()


def test_role_installs_and_is_idempotent(controller: Machine, wheel: Path) -> None:
    variables = {
        "wheel": f"/srv/{wheel.name}",
        "flags": ["--log.format=json"],
        "config": {"process_names": [{"name": "{% raw %}{{.ExeBase}}{% endraw %}", "comm": ["never"]}]},
    }
    first = play(controller, **variables)
    assert first.failed == 0, first.text
    check(controller)
    assert (
        'ARGS="--config.file=/etc/socket-state-exporter.yml --log.format=json"'
        in controller.path(DEFAULTS).read_text()
    )
    assert "{{.ExeBase}}" in controller.path("/etc/socket-state-exporter.yml").read_text()

    (pid,) = show(controller, "MainPID")
    for flags in ((), ("--check",)):
        again = play(controller, *flags, **variables)
        assert (again.failed, again.changing) == (0, []), again.text
    assert show(controller, "MainPID") == [pid]


def test_changed_flags_restart_and_changed_configuration_reloads(controller: Machine, wheel: Path) -> None:
    (before,) = show(controller, "MainPID")
    path = f"/srv/{wheel.name}"
    play(controller, wheel=path, flags=["--log.format=json"], config={"max_processes": 50})
    assert show(controller, "MainPID") == [before]
    result = play(controller, wheel=path, flags=["--log.level=warn"], config={"max_processes": 50})
    assert result.failed == 0, result.text
    assert show(controller, "MainPID") != [before]


def test_another_wheel_upgrades_it(controller: Machine, newer_wheel: Path) -> None:
    result = play(controller, wheel=controller.put(newer_wheel, f"/srv/{newer_wheel.name}"))
    assert "Install the exporter" in result.changing, result.text
    assert served_version(controller) == "99.0"
    check(controller)


def test_missing_wheel_is_reported(controller: Machine) -> None:
    result = play(controller, wheel="/nowhere.whl")
    assert result.failed == 1
    assert "'/nowhere.whl' is not a file" in result.text


def test_state_absent_removes_everything(controller: Machine) -> None:
    """This must be the last test of the file."""
    result = play(controller, state="absent")
    assert result.failed == 0, result.text
    assert show(controller, "LoadState") == ["not-found"]
    assert not controller.path(f"/opt/{NAME}").exists()
    assert not controller.path(DEFAULTS).exists()
    assert play(controller, state="absent").changing == []
