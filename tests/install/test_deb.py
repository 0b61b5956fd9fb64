"""The .deb on a Debian that has python3 and systemd: installed, scraped, upgraded, removed, purged."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from ..running import until, value
from . import base
from .conftest import ROOT
from .machine import Machine
from .serving import DEFAULTS, NAME, UNIT, URL, check, listening, show

pytestmark = pytest.mark.install


@pytest.fixture(scope="module")
def installed(machine: Machine, deb: Path) -> Machine:
    """Return a machine with the package installed by `apt-get install ./FILE`, as in the README."""
    machine.run("dpkg", "--purge", *base.BEYOND_PYTHON)
    file = machine.put(deb, f"/root/{deb.name}")
    machine.run("apt-get", "install", "-qq", "-o", "Dpkg::Use-Pty=0", file)
    return machine


@pytest.fixture
def configured(installed: Machine) -> Iterator[Machine]:
    """Return the machine; flags, unit and state of the service are restored afterwards."""
    flags = installed.path(DEFAULTS).read_text()
    yield installed
    installed.path(DEFAULTS).write_text(flags)
    shutil.rmtree(installed.path(DROP_INS), ignore_errors=True)
    installed.run("systemctl", "daemon-reload")
    installed.run("systemctl", "restart", UNIT)


DROP_INS: Final = f"/etc/systemd/system/{UNIT}.d"


def drop_in(machine: Machine, text: str) -> None:
    """Add a drop-in like `systemctl edit`."""
    folder = machine.path(DROP_INS)
    folder.mkdir()
    (folder / "override.conf").write_text(text)
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "restart", UNIT)


def test_service_runs_after_installation_and_resolves_owners(installed: Machine) -> None:
    check(installed)
    assert installed.run("systemctl", "is-enabled", UNIT).stdout == "enabled\n"
    assert installed.run("dpkg", "--verify", NAME).stdout == ""
    assert installed.run("systemd-analyze", "verify", "--man=no", UNIT).stderr == ""


def test_service_has_no_unneeded_privileges(installed: Machine) -> None:
    """Uses the exposure level of the running unit, not of the file."""
    output = installed.run("systemd-analyze", "security", "--no-pager", UNIT, check=False).stdout
    (line,) = (line for line in output.splitlines() if "Overall exposure level" in line)
    assert float(line.split(":")[1].split()[0]) <= 2.5


@pytest.mark.parametrize("right", ["CAP_SYS_PTRACE", "CAP_DAC_READ_SEARCH", ""])
def test_owners_are_unknown_with_one_capability_only(configured: Machine, right: str) -> None:
    sets = ("AmbientCapabilities", "CapabilityBoundingSet")
    drop_in(configured, "[Service]\n" + "".join(f"{each}=\n{each}={right}\n" for each in sets))
    with listening(configured):
        text = configured.get(URL)
    assert value(text, "socket_states", state="listen", process="printd") is None
    assert value(text, "socket_states", state="listen", process="unknown") == 1
    assert (value(text, "socket_exporter_unowned_sockets", reason="unreadable") or 0) >= 1


def test_flags_are_read_from_etc_default(configured: Machine) -> None:
    configured.path(DEFAULTS).write_text('ARGS="--web.listen-address=127.0.0.1:9999 --log.level=warn"\n')
    configured.run("systemctl", "restart", UNIT)
    assert "socket_states" in configured.get("http://127.0.0.1:9999/metrics")


def test_service_starts_without_etc_default(configured: Machine) -> None:
    configured.path(DEFAULTS).unlink()
    configured.run("systemctl", "restart", UNIT)
    check(configured)


def test_reload_applies_the_configuration(configured: Machine) -> None:
    """The file is readable by root only, which requires one of the two capabilities."""
    configuration = configured.path("/etc/socket-state-exporter.yml")
    configuration.write_text("max_processes: 100\n")
    configuration.chmod(0o600)
    configured.path(DEFAULTS).write_text('ARGS="--config.file=/etc/socket-state-exporter.yml"\n')
    configured.run("systemctl", "restart", UNIT)
    configuration.write_text("process_names:\n- name: renamed\n  comm: [printd]\n")
    configured.run("systemctl", "reload", UNIT)
    with listening(configured):
        for _ in until("the new name is used"):
            if value(configured.get(URL), "socket_states", state="listen", process="renamed") == 1:
                break
    configuration.unlink()


def test_sandboxed_service_serves_tls_with_authentication(configured: Machine) -> None:
    """Key and passwords are readable by root only."""
    folder = configured.path("/etc/socket-state-exporter")
    folder.mkdir(mode=0o700)
    key = ("-newkey", "rsa:2048", "-noenc", "-keyout", folder / "key.pem", "-out", folder / "cert.pem")
    subject = ("-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1")
    subprocess.run(["openssl", "req", "-x509", *key, *subject], check=True, capture_output=True)
    (folder / "web.yml").write_text(
        "tls_server_config: {cert_file: cert.pem, key_file: key.pem}\n"
        # Of "secret", as `htpasswd -nB` writes it.
        "basic_auth_users: {ann: $2b$04$QHLynyt6n8cOUA81ngQBneytoAM4F/sxb9ElT12nEanuz2FRW2hbK}\n"
    )
    for file in folder.iterdir():
        file.chmod(0o600)
    configured.path(DEFAULTS).write_text(
        'ARGS="--web.config.file=/etc/socket-state-exporter/web.yml"\n', encoding="utf-8"
    )
    configured.run("systemctl", "restart", UNIT)
    assert "socket_states{" in asked(configured, "https://127.0.0.1:10066/metrics", "ann:secret")
    assert "401" in asked(configured, "https://127.0.0.1:10066/metrics", "ann:wrong")
    shutil.rmtree(folder)


def asked(machine: Machine, url: str, user: str) -> str:
    """Request the metrics over TLS as a user; return the response or the error."""
    code = (
        "import base64, ssl, sys, urllib.error, urllib.request as u\n"
        "trust = ssl.create_default_context(cafile='/etc/socket-state-exporter/cert.pem')\n"
        "user = base64.b64encode(sys.argv[2].encode()).decode()\n"
        "asked = u.Request(sys.argv[1], headers={'Authorization': f'Basic {user}'})\n"
        "try:\n    print(u.urlopen(asked, context=trust, timeout=20).read().decode())\n"
        "except urllib.error.HTTPError as error:\n    print(error)\n"
    )
    return machine.run("python3", "-c", code, url, user).stdout


def test_invalid_flags_fail_without_restarts(configured: Machine) -> None:
    configured.path(DEFAULTS).write_text('ARGS="--nonsense"\n')
    assert configured.run("systemctl", "restart", UNIT, check=False).returncode == 1
    assert show(configured, "ActiveState", "ExecMainStatus", "NRestarts") == ["failed", "2", "0"]
    assert "unrecognized arguments: --nonsense" in configured.journal(UNIT)


def test_killed_service_is_restarted(configured: Machine) -> None:
    drop_in(configured, "[Service]\nRestartSec=0\n")
    (pid,) = show(configured, "MainPID")
    configured.run("sh", "-c", f"kill -9 {pid}")
    for _ in until("it serves again"):
        if show(configured, "ActiveState", "SubState") == ["active", "running"]:
            break
    assert show(configured, "NRestarts") == ["1"]
    check(configured)


def test_man_page_and_completions_are_in_standard_paths(installed: Machine) -> None:
    for file in (
        f"/usr/share/man/man1/{NAME}.1.gz",
        f"/usr/share/bash-completion/completions/{NAME}",
        f"/usr/share/zsh/vendor-completions/_{NAME}",
        f"/usr/share/fish/vendor_completions.d/{NAME}.fish",
    ):
        # minbase leaves out no documentation; a path-exclude would show here.
        assert installed.path(file).exists()


def test_package_contains_the_assets(installed: Machine) -> None:
    installed.run(NAME, "assets", "/root/assets")
    assert installed.path("/root/assets/deploy/prometheus/rules/alerts.yml").exists()
    assert not installed.path("/root/assets/deploy/debian").exists()


def test_package_is_compiled_at_installation(installed: Machine) -> None:
    """The service has no write access there, and would compile at every start."""
    assert list(installed.path(f"/usr/lib/{NAME}/exporter/__pycache__").glob("cli.*.pyc"))


def test_install_script_refuses_with_the_debian_package(installed: Machine, wheel: Path) -> None:
    """Its command would take precedence over that of the package."""
    script = installed.put(ROOT / "deploy/systemd/install.sh", "/root/install.sh")
    refused = installed.run(script, installed.put(wheel, f"/root/{wheel.name}"), check=False)
    assert (refused.returncode, "the Debian package is installed" in refused.stderr) == (1, True)
    assert not installed.path(f"/opt/{NAME}").exists()


def test_upgrade_restarts_the_service_and_keeps_flags(configured: Machine, deb: Path, tmp_path: Path) -> None:
    flags = 'ARGS="--web.telemetry-path=/mine"\n'
    configured.path(DEFAULTS).write_text(flags)
    newer = configured.put(renumbered(deb, tmp_path), "/root/newer.deb")
    configured.run("apt-get", "install", "-qq", "-o", "Dpkg::Use-Pty=0", newer)
    assert configured.path(DEFAULTS).read_text() == flags
    assert 'version="99.0"' in configured.get("http://127.0.0.1:10066/mine")


def test_upgrade_keeps_a_disabled_service_disabled(configured: Machine, deb: Path, tmp_path: Path) -> None:
    configured.run("systemctl", "disable", "--now", UNIT)
    newer = configured.put(renumbered(deb, tmp_path), "/root/newer.deb")
    configured.run("dpkg", "--install", newer)
    assert configured.run("systemctl", "is-enabled", UNIT, check=False).stdout == "disabled\n"
    assert show(configured, "ActiveState") == ["inactive"]
    configured.run("systemctl", "enable", UNIT)


def test_remove_keeps_flags_and_purge_removes_them(installed: Machine) -> None:
    """This must be the last test of the file."""
    installed.path(DEFAULTS).write_text('ARGS=""\n# mine\n')
    installed.run("dpkg", "--remove", NAME)
    assert installed.path(DEFAULTS).read_text().endswith("# mine\n")
    assert not installed.path(f"/usr/lib/{NAME}").exists()
    assert show(installed, "ActiveState") == ["inactive"]
    installed.run("dpkg", "--purge", NAME)
    found = installed.run("find", "/", "-xdev", "-name", f"*{NAME}*", "-not", "-path", "/root/*")
    assert [] == [line for line in found.stdout.splitlines() if "/lib/private" not in line]


def renumbered(deb: Path, directory: Path) -> Path:
    """Return the same package as version 99.0."""
    tree = directory / "tree"
    subprocess.run(["dpkg-deb", "--raw-extract", deb, tree], check=True)
    control = tree / "DEBIAN/control"
    control.write_text(re.sub("(?m)^Version: .*", "Version: 99.0", control.read_text()))
    (tree / f"usr/lib/{NAME}/exporter/__init__.py").write_text('__version__ = "99.0"\n')
    newer = directory / "newer.deb"
    subprocess.run(
        ["dpkg-deb", "--root-owner-group", "-Znone", "--build", tree, newer],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return newer
