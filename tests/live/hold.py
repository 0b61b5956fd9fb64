"""Hold sockets in every TCP state: a program to be run inside a Namespace (see helpers.hold_states).

When all exist, it prints the expected counts as one line of JSON, a list of `Expected`. They exist until
stdin ends: at least 30 s, after which the first time out (TIME_WAIT 60 s, orphans about 100 s).

It makes the sockets itself and then forks the processes that hold them, each with its own name. So there is
no protocol between client and server, and no race.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Final

from .builder import Builder
from .states import COUNTS, RULES, Expected

SYSCTLS: Final = {"net/ipv4/tcp_synack_retries": 10, "net/ipv4/tcp_orphan_retries": 15}
"""The defaults would end SYN_RECV and the orphans too early for a slow machine."""


def prepare() -> None:
    """Set up this network namespace, which must not be that of the parent process."""
    if Path("/proc/self/ns/net").samefile(f"/proc/{os.getppid()}/ns/net"):
        sys.exit("this drops packets and sets sysctls: start it in a separate network namespace")
    for name, value in SYSCTLS.items():
        Path("/proc/sys", name).write_text(str(value))
    subprocess.run(["nft", "-f", "-"], input=RULES, text=True, check=True)


def run_process(process: str, held: list[tuple[str, socket.socket]], ready: int) -> None:
    """Run as the process of that name: hold its sockets and no others until stdin ends."""
    Path("/proc/self/comm").write_text(process)
    for owner, end in held:
        if owner != process:
            end.close()
    os.write(ready, b".")
    os.close(ready)
    while os.read(0, 512):
        pass


def main() -> None:
    """Build the sockets, fork the processes that hold them, print the counts, wait for the end."""
    socket.setdefaulttimeout(5)
    prepare()
    held: list[tuple[str, socket.socket]] = []
    made: Counter[tuple[str, str, str, str, int]] = Counter()
    for family, counts in COUNTS.items():
        builder = Builder(family)
        for case, count in counts.items():
            builder.build(case, count)
        held += builder.held
        made += builder.made
    reader, writer = os.pipe()
    processes = {process for process, _ in held}
    children = []
    for process in processes:
        pid = os.fork()
        if pid == 0:
            run_process(process, held, writer)
            os._exit(0)
        children.append(pid)
    os.close(writer)
    for _, end in held:
        end.close()
    with os.fdopen(reader, "rb") as reports:
        # Ends when every child has closed its end of the pipe: all have written, or one has failed.
        if len(reports.read()) != len(children):
            sys.exit("a process failed to hold its sockets")
    print(json.dumps([Expected(*row, count) for row, count in made.items()]), flush=True)
    for pid in children:
        os.waitpid(pid, 0)


if __name__ == "__main__":
    main()
