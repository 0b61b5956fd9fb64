"""Containers of the image: access to the host by capabilities, start and stop."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path
from typing import Final

import pytest

from exporter import __version__

from ..running import value
from ..tools import require
from .serving import COMMAND, HEALTHCHECK, MARKS, PYTHON, running, scrape, serving
from .store import CHECKOUT, IMAGE, Container, Engine, Store

pytestmark = MARKS

BOTH: Final = ("SYS_PTRACE", "DAC_READ_SEARCH")


def test_version_is_printed_for_any_user(container: Container) -> None:
    for user in ("", "0", "12345:12345"):
        result = container.run(COMMAND, "--version", user=user)
        assert (result.returncode, result.stderr) == (0, "")
        assert result.stdout.startswith(f"socket-state-exporter {__version__} (")


def test_container_is_scraped_healthy_and_stops(container: Container, port: int, leak: int) -> None:
    with running(container, container.command(*serving(port))) as exporter:
        text = scrape(port)
        healthy = container.run(*HEALTHCHECK)
    assert healthy.returncode == 0, healthy.stdout + healthy.stderr
    assert healthy.stdout == f"127.0.0.1:{port}: HTTP/1.1 200 OK\n"
    assert exporter.process.returncode == 0
    assert value(text, "socket_scrape_collector_success", collector="states") == 1
    # It sees the host's sockets; the unprivileged user cannot resolve their processes.
    assert value(text, "socket_listener_accept_queue_length", local_port=str(leak), process="unknown") == 1
    assert value(text, "socket_exporter_unowned_sockets", reason="unreadable") != 0


def test_container_without_exporter_is_unhealthy(container: Container) -> None:
    unhealthy = container.run(*HEALTHCHECK)
    assert (unhealthy.returncode, unhealthy.stdout) == (
        1,
        "no socket-state-exporter is running in this container\n",
    )


def test_hanging_exporter_is_unhealthy(container: Container, port: int) -> None:
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
    ids=["root with both", "root with SYS_PTRACE", "root with DAC_READ_SEARCH", "unprivileged with both"],
)
def test_capabilities_required_to_resolve_owners(
    built: Store, port: int, leak: int, user: str, capabilities: tuple[str, ...], owner: str
) -> None:
    container = built.container(IMAGE, *capabilities)
    with running(container, container.command(*serving(port), user=user)):
        text = scrape(port)
    labels = {"direction": "inbound", "port": str(leak), "cause": "not_accepted"}
    assert value(text, "socket_close_wait_sockets", process=owner, **labels) == 1


@require("podman", "runc")
def test_documented_command_resolves_host_processes(engine: Engine, port: int, leak: int) -> None:
    """Uses another port and image name, and Podman instead of Docker."""
    (command,) = re.findall(r"^docker (run [^`]*)", (CHECKOUT / "README.md").read_text(), re.MULTILINE)
    words = command.replace("\\\n", " ").split()
    assert words[-2:] == ["socket-state-exporter", "--web.listen-address=:10066"]
    started = engine.run(*words[:-2], IMAGE, f"--web.listen-address=:{port}")
    assert started.returncode == 0, started.stderr
    text = scrape(port)
    assert value(text, "socket_listener_accept_queue_length", local_port=str(leak), process="sleep") == 1
    assert engine.run("healthcheck", "run", "socket-state-exporter").returncode == 0
    assert engine.run("stop", "socket-state-exporter").returncode == 0
    result = engine.run(
        "inspect", "--format", "{{.State.Status}} {{.State.ExitCode}}", "socket-state-exporter"
    )
    assert result.stdout.split() == ["exited", "0"]
    assert engine.run("healthcheck", "run", "socket-state-exporter").returncode != 0


READ_ONLY: Final = """
mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && mount -t proc proc "$0/proc"
exec chroot --userspec=65534:65534 "$0" "$@"
"""


def test_read_only_container_without_host_pids_serves_and_stops(
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


def test_exporter_starts_from_bytecode_only(container: Container, port: int) -> None:
    result = "PYTHONVERBOSE=1"
    with running(container, container.command("env", result, *serving(port))) as exporter:
        scrape(port)
        checked = container.run("env", result, *HEALTHCHECK)
        read = re.findall(
            r"^# code object from '?(\S+?)'?$", exporter.log.read_text() + checked.stderr, re.MULTILINE
        )
    assert len(read) > 100
    assert [path for path in read if not path.endswith(".pyc")] == []
