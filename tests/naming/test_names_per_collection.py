"""Names are made once per process and configuration, and no command line stops a scrape."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ..running import run

LISTENS = """
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
    program.write_text(LISTENS)
    arguments = ["java", *["-Xa-b-c"] * words, str(program)]
    # Python does not find its modules by that name.
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
