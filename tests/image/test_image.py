"""The image, really built of the Dockerfile and run: what it holds, what it sees, how it starts and stops."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import tempfile
import tomllib
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

import pytest

from exporter import __version__

from ..running import PATIENCE, until, value
from ..tools import require
from .store import CHECKOUT, Container, Store, store

pytestmark = [
    pytest.mark.image,
    require("buildah", "debootstrap"),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
]

BASE: Final = "localhost/base:test"
IMAGE: Final = "localhost/socket-state-exporter:test"
HOME: Final = "/opt/socket-state-exporter"
PYTHON: Final = f"{HOME}/bin/python"
COMMAND: Final = f"{HOME}/bin/socket-state-exporter"
HEALTHCHECK: Final = (PYTHON, f"{HOME}/healthcheck.py")
LABELS: Final = "org.opencontainers.image."
BOTH: Final = ("SYS_PTRACE", "DAC_READ_SEARCH")
MOST: Final = 90_000_000
"""What the image may add to its base, in bytes."""


@pytest.fixture(scope="module")
def built() -> Iterator[Store]:
    with store() as made:
        made.base(BASE)
        made.build(BASE, IMAGE)
        yield made


@pytest.fixture(scope="module")
def container(built: Store) -> Container:
    """As the image is meant to be run by default: not as root."""
    return built.container(IMAGE)


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


@dataclass(frozen=True)
class Exporter:
    """The process on the host that stands for the container, and all that it says."""

    process: subprocess.Popen[bytes]
    log: Path


@contextmanager
def running(container: Container, command: Sequence[str]) -> Iterator[Exporter]:
    """An exporter in the container, by a command of the host; ended by SIGTERM as by `docker stop`."""
    with tempfile.NamedTemporaryFile() as log:
        process = subprocess.Popen(command, stderr=log)
        try:
            yield Exporter(process, Path(log.name))
        finally:
            if pid := container.process(PYTHON):
                os.kill(pid, signal.SIGTERM)
            process.wait(PATIENCE)


def serving(port: int) -> tuple[str, str]:
    """The command inside the container."""
    return COMMAND, f"--web.listen-address=127.0.0.1:{port}"


def scrape(port: int) -> str:
    """The metrics, once they are to be had."""
    for _ in until("the container's exporter answers"):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=PATIENCE) as answer:
                return str(answer.read().decode())
        except OSError:
            continue
    raise AssertionError


@pytest.fixture
def leak() -> Iterator[int]:
    """The port of a program of some user of this host, which never accepts; its one client has gone."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        sleep = subprocess.Popen(
            ["sleep", "300"], user=65533, group=65533, extra_groups=[], pass_fds=[listener.fileno()]
        )
        port = int(listener.getsockname()[1])
    socket.create_connection(("127.0.0.1", port)).close()
    yield port
    sleep.kill()
    sleep.wait()


def test_what_the_image_says_of_itself(built: Store) -> None:
    told = built.configuration(IMAGE)
    assert told["User"] == "65534:65534"
    assert told["Entrypoint"] == [COMMAND]
    assert not told.get("Cmd")
    assert list(told["ExposedPorts"]) == ["10066/tcp"]
    assert told["Healthcheck"]["Test"] == ["CMD", *HEALTHCHECK]
    labels = {
        key.removeprefix(LABELS): text for key, text in told["Labels"].items() if key.startswith(LABELS)
    }
    assert labels["version"] == __version__
    assert labels["base.name"] == BASE
    assert labels["licenses"] == "Apache-2.0"
    assert labels["title"] == "socket-state-exporter"
    assert re.fullmatch(r"[0-9a-f]{40}", labels["revision"])
    assert datetime.fromisoformat(labels["created"]).tzinfo
    assert (
        labels["description"]
        == tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]["description"]
    )
    assert labels["authors"]
    assert labels["documentation"] == f"{labels['source']}/blob/main/README.md"


def test_it_adds_little_to_its_base(built: Store, container: Container) -> None:
    base = built.container(BASE)
    added = bytes_of(container.root) - bytes_of(base.root)
    print(f"{added / 1e6:.1f} MB over the base")
    assert 0 < added < MOST


def bytes_of(folder: Path) -> int:
    told = subprocess.run(
        ["du", "--summarize", "--bytes", "--one-file-system", folder],
        capture_output=True,
        text=True,
        check=True,
    )
    return int(told.stdout.split()[0])


def test_nothing_is_left_of_the_build(built: Store, container: Container) -> None:
    """Beside the base: one directory, in it what the lock names, and the byte code of what that imports."""
    base = built.container(BASE)
    top = {path.name for path in container.root.iterdir()} - {path.name for path in base.root.iterdir()}
    assert top == set()
    assert [path.name for path in (container.root / "opt").iterdir()] == ["socket-state-exporter"]
    (packages,) = (container.root / HOME[1:]).glob("lib/python3*/site-packages")
    installed = {path.name.partition("-")[0].replace("_", "-") for path in packages.glob("*.dist-info")}
    locked = set(re.findall(r"^([\w.-]+)==", (CHECKOUT / "requirements.lock").read_text(), re.MULTILINE))
    assert "socket-state-exporter" in installed
    assert installed - {"socket-state-exporter"} <= {name.lower() for name in locked}
    assert not list(packages.glob("pip*"))
    written = {path.suffix for path in new_files(container.root / "usr", base.root / "usr")}
    assert written == {".pyc"}


def new_files(folder: Path, than: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink() and not (than / path.relative_to(folder)).exists():
            yield path


def test_it_tells_its_version_to_any_user(container: Container) -> None:
    for user in ("", "0", "12345:12345"):
        told = container.run(COMMAND, "--version", user=user)
        assert (told.returncode, told.stderr) == (0, "")
        assert told.stdout.startswith(f"socket-state-exporter {__version__} (")


def test_it_is_scraped_found_healthy_and_stopped(container: Container, port: int, leak: int) -> None:
    with running(container, container.command(*serving(port))) as exporter:
        text = scrape(port)
        healthy = container.run(*HEALTHCHECK)
    assert healthy.returncode == 0, healthy.stdout + healthy.stderr
    assert healthy.stdout == f"127.0.0.1:{port}: HTTP/1.1 200 OK\n"
    assert exporter.process.returncode == 0
    assert value(text, "socket_scrape_collector_success", collector="states") == 1
    # It sees the host's sockets, and as nobody not whose they are.
    assert value(text, "socket_listener_accept_queue_length", local_port=str(leak), process="unknown") == 1
    assert value(text, "socket_exporter_unowned_sockets", reason="unreadable") != 0


def test_it_is_unhealthy_when_it_does_not_run(container: Container) -> None:
    unhealthy = container.run(*HEALTHCHECK)
    assert (unhealthy.returncode, unhealthy.stdout) == (
        1,
        "no socket-state-exporter runs in this container\n",
    )


def test_it_is_unhealthy_when_it_hangs(container: Container, port: int) -> None:
    with running(container, container.command(*serving(port))):
        scrape(port)
        pid = container.process(PYTHON)
        assert pid
        os.kill(pid, signal.SIGSTOP)
        try:
            unhealthy = container.run(*HEALTHCHECK)
        finally:
            os.kill(pid, signal.SIGCONT)
    assert (unhealthy.returncode, unhealthy.stdout) == (1, f"127.0.0.1:{port}: timed out\n")


@pytest.mark.parametrize(
    ("user", "capabilities", "owner"),
    [
        ("0", BOTH, "sleep"),
        ("0", BOTH[:1], "unknown"),
        ("0", BOTH[1:], "unknown"),
        ("", BOTH, "unknown"),  # Docker gives added capabilities to root alone, and so does buildah
    ],
    ids=["root with both", "root with SYS_PTRACE", "root with DAC_READ_SEARCH", "nobody with both"],
)
def test_which_rights_show_the_owners(
    built: Store, port: int, leak: int, user: str, capabilities: tuple[str, ...], owner: str
) -> None:
    container = built.container(IMAGE, *capabilities)
    with running(container, container.command(*serving(port), user=user)):
        text = scrape(port)
    labels = {"direction": "inbound", "port": str(leak), "cause": "not_accepted"}
    assert value(text, "socket_close_wait_sockets", process=owner, **labels) == 1


READ_ONLY: Final = """
mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && mount -t proc proc "$0/proc"
exec chroot --userspec=65534:65534 "$0" "$@"
"""


def test_without_the_hosts_processes_and_read_only_it_serves_and_stops(
    container: Container, port: int, leak: int
) -> None:
    """There it is process 1, which the kernel spares every signal that it does not ask for."""
    alone = ["unshare", "--mount", "--pid", "--fork", "sh", "-c", READ_ONLY, str(container.root)]
    with running(container, [*alone, *serving(port)]) as exporter:
        text = scrape(port)
        pid = container.process(PYTHON)
        status = Path(f"/proc/{pid}/status").read_text()
    assert re.search(r"^NSpid:.*\t1$", status, re.MULTILINE)
    assert value(text, "socket_scrape_collector_success", collector="owners") == 1
    assert value(text, "socket_listener_accept_queue_length", local_port=str(leak), process="unknown") == 1
    assert value(text, "socket_exporter_unowned_sockets", reason="not_found") != 0
    assert exporter.process.returncode == 0


def test_it_starts_from_byte_code_alone(container: Container, port: int) -> None:
    told = "PYTHONVERBOSE=1"
    with running(container, container.command("env", told, *serving(port))) as exporter:
        scrape(port)
        checked = container.run("env", told, *HEALTHCHECK)
        read = re.findall(
            r"^# code object from '?(\S+?)'?$", exporter.log.read_text() + checked.stderr, re.MULTILINE
        )
    assert len(read) > 100
    assert [path for path in read if not path.endswith(".pyc")] == []
