"""Names are made once per process and configuration, and no command line stops a scrape."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from exporter.collection.tracker import SocketTracker
from exporter.model.process import Process, ProcessId
from exporter.naming.rules import Namer

from ..collection.host import PRINTD, Host
from ..running import run


@dataclass(frozen=True)
class CountingNamer(Namer):
    """Names by comm and counts its evaluations by process."""

    suffix: str = ""
    evaluations: Counter[int] = field(default_factory=Counter)

    def name(self, process: Process) -> str:
        self.evaluations[process.pid] += 1
        return process.comm + self.suffix


class HostWithAttributes(Host):
    """Host whose processes are the same objects until an attribute changes, as those of the resolvers."""

    def __init__(self) -> None:
        super().__init__()
        self.processes: dict[ProcessId, Process] = {}

    def process(self, owner: ProcessId) -> Process:
        return self.processes.setdefault(owner, super().process(owner))


@pytest.fixture
def host() -> HostWithAttributes:
    return HostWithAttributes()


@pytest.fixture
def tracker(host: HostWithAttributes) -> SocketTracker:
    return host.tracker()


def test_rules_are_evaluated_once_per_process(tracker: SocketTracker) -> None:
    namer = CountingNamer()
    tracker.set_namer(namer)
    names = [tracker.snapshot().names[PRINTD] for _ in range(3)]
    assert names == ["printd"] * 3
    assert namer.evaluations == {PRINTD.pid: 1}


def test_rules_are_evaluated_again_after_exec(tracker: SocketTracker, host: HostWithAttributes) -> None:
    namer = CountingNamer()
    tracker.set_namer(namer)
    tracker.snapshot()
    host.processes[PRINTD] = replace(host.process(PRINTD), comm="lpd", cmdline=("lpd",))
    names = [tracker.snapshot().names[PRINTD] for _ in range(2)]
    assert names == ["lpd", "lpd"]
    assert namer.evaluations == {PRINTD.pid: 2}


def test_rules_are_evaluated_again_after_a_reload(tracker: SocketTracker) -> None:
    namers = CountingNamer(suffix=" before"), CountingNamer(suffix=" after")
    names = []
    for namer in namers:
        tracker.set_namer(namer)
        names += [tracker.snapshot().names[PRINTD] for _ in range(2)]
    assert names == ["printd before"] * 2 + ["printd after"] * 2
    assert [namer.evaluations for namer in namers] == [{PRINTD.pid: 1}] * 2


def test_name_is_dropped_with_the_attributes_of_the_process(
    tracker: SocketTracker, host: HostWithAttributes
) -> None:
    host.rows = []  # only the listener: sockets that were counted keep their owners
    namer = CountingNamer()
    tracker.set_namer(namer)
    tracker.snapshot()
    listening = host.listening
    host.listening, host.dead, host.stale = [], {PRINTD}, {PRINTD}
    tracker.snapshot()
    assert PRINTD not in host.retained
    host.listening, host.dead = listening, set()
    tracker.snapshot()
    assert namer.evaluations == {PRINTD.pid: 2}


LISTENING_PROGRAM = """
import socket, sys
server = socket.create_server(("127.0.0.1", 0))
print(server.getsockname()[1], flush=True)
sys.stdin.read()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
@pytest.mark.parametrize("words", [40, 5_000])
def test_hostile_command_line_does_not_stop_collections(words: int, tmp_path: Path) -> None:
    """40 words took a backtracking matcher for ever: scrapes, health checks and SIGTERM stopped."""
    config = tmp_path / "config.yml"
    config.write_text(
        "process_names:\n"
        r"- {name: '{{.Matches.main}}', cmdline: ['^java (-\S+ ?)+ (?P<main>[\w.]+)$']}"
        "\n- {name: hostile, cmdline: ['^java']}\n"
    )
    program = tmp_path / "program"
    program.write_text(LISTENING_PROGRAM)
    arguments = ["java", *["-Xa-b-c"] * words, str(program)]
    # Python does not find its modules under this name.
    home = {"PYTHONHOME": f"{sys.base_prefix}:{sys.base_exec_prefix}"}
    with subprocess.Popen(
        arguments,
        executable=sys.executable,
        env=home,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin
        assert process.stdout
        try:
            port = int(process.stdout.readline())
            scrape = run("--once", f"--config.file={config}")
        finally:
            process.stdin.close()
    assert scrape.returncode == 0
    (line,) = [
        line
        for line in scrape.stdout.splitlines()
        if line.startswith("socket_listener_accept_queue_length{") and f'"{port}"' in line
    ]
    assert 'process="hostile"' in line
