"""Checks of every installation method: the service runs, resolves owners, and has two capabilities."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from ..running import until, value
from .machine import Machine

NAME: Final = "socket-state-exporter"
UNIT: Final = f"{NAME}.service"
DEFAULTS: Final = f"/etc/default/{NAME}"
URL: Final = "http://127.0.0.1:10066/metrics"

_RIGHTS: Final = f"{1 << 2 | 1 << 19:016x}"
"""CAP_DAC_READ_SEARCH and CAP_SYS_PTRACE, as in /proc/PID/status."""

_LISTEN: Final = """
import ctypes, os, socket, sys
ctypes.CDLL(None).prctl(15, b"printd", 0, 0, 0)
listener = socket.create_server(("127.0.0.1", 631))
os.setuid(int(sys.argv[1]))
print("ready", flush=True)
sys.stdin.read()
"""


@contextmanager
def listening(machine: Machine, user: int = 0) -> Iterator[None]:
    """Run a process named printd of a user that listens on port 631."""
    with machine.popen("python3", "-c", _LISTEN, str(user)) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == "ready\n"
        yield


def check(machine: Machine) -> str:
    """Check that the service runs correctly; return its metrics."""
    assert show(machine, "ActiveState", "SubState") == ["active", "running"], machine.journal(UNIT)
    (pid,) = show(machine, "MainPID")
    status = dict(
        line.split(":\t", 1) for line in machine.run("cat", f"/proc/{pid}/status").stdout.splitlines()
    )
    assert {_RIGHTS} == {status[kind].strip() for kind in ("CapPrm", "CapEff", "CapBnd", "CapAmb")}
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    assert int(status["Uid"].split()[0]) >= 61184  # systemd's range for DynamicUser
    return check_owners(machine)


def check_owners(machine: Machine) -> str:
    """Check that it resolves sockets of root and another user; return its metrics."""
    for user in (0, 65534):
        with listening(machine, user):
            text = machine.get(URL)
        assert value(text, "socket_states", state="listen", process="printd") == 1
        assert value(text, "socket_exporter_unowned_sockets", reason="unreadable") in (None, 0)
    assert not [
        line
        for line in text.splitlines()
        if "socket_scrape_collector_success" in line and line.endswith(" 0.0")
    ]
    return text


def show(machine: Machine, *properties: str) -> list[str]:
    """Return properties of the service, in the given order."""
    lines = machine.run("systemctl", "show", UNIT, *(f"--property={name}" for name in properties)).stdout
    found = dict(line.split("=", 1) for line in lines.splitlines())
    return [found[name] for name in properties]


def served_version(machine: Machine) -> str:
    """Return the version in its metrics."""
    (line,) = (
        line for line in machine.get(URL).splitlines() if line.startswith("socket_exporter_build_info{")
    )
    return line.split('version="')[1].split('"')[0]


def wait_until_failed(machine: Machine) -> None:
    for _ in until("the service has failed"):
        if show(machine, "ActiveState") == ["failed"]:
            return
