"""Resolves owners of sockets while their processes exit and pids are reused: `python pids.py SECONDS`.

To be run in namespaces of its own, of pids, mounts and network. Prints one line of JSON: how many owners were
right, unknown and wrong, and how many processes there were under how many pids.
"""

from __future__ import annotations

import ctypes
import json
import os
import random
import signal
import socket
import sys
import time
from collections.abc import Iterable
from itertools import count
from pathlib import Path
from typing import Final

from exporter.model.process import ProcessId
from exporter.netlink.source import NetlinkSource
from exporter.owners.fd_scanner import FdScanner
from exporter.owners.inode_resolver import InodeOwnerResolver
from exporter.owners.process_cache import ProcessCache
from exporter.procfs.process_reader import ProcfsProcessReader

PROC: Final = Path("/proc")
LAST_PID: Final = PROC / "sys/kernel/ns_last_pid"
BEFORE_FIRST: Final = 200
AT_A_TIME: Final = 6
LIVES: Final = 0.02, 0.06
"""Seconds: more than the kernel's tick of 10 ms, which distinguishes processes with the same pid."""
PR_SET_NAME: Final = 15
PR_SET_PDEATHSIG: Final = 1

libc = ctypes.CDLL(None)


class Live(set[int]):
    """Return the inodes of all sockets, as owner keys."""

    def all(self) -> set[int]:
        return set(self)

    def gone(self, known: Iterable[int]) -> set[int]:
        return set(known) - self


def hold(seconds: float) -> None:
    """Run as a process with a listener, named after its port, for some seconds."""
    with socket.socket() as listener:
        listener.bind(("", 0))
        libc.prctl(PR_SET_NAME, f"c{listener.getsockname()[1]}".encode(), 0, 0, 0)
        listener.listen()
        time.sleep(seconds)


def churn(pipe: int) -> None:
    """Has AT_A_TIME such processes, each with the lowest pid that is free; tells each pid by a line."""
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    for number in count():
        LAST_PID.write_text(str(BEFORE_FIRST))
        pid = os.fork()
        if pid == 0:
            hold(random.uniform(*LIVES))  # noqa: S311  # no secret
            os._exit(0)
        os.write(pipe, b"%d\n" % pid)
        if number >= AT_A_TIME:
            os.wait()


def main(seconds: float) -> None:
    """Resolve owners repeatedly."""
    reader, writer = os.pipe()
    churning = os.fork()
    if churning == 0:
        churn(writer)
    os.close(writer)
    source, owners = (
        NetlinkSource(),
        InodeOwnerResolver(FdScanner(PROC), ProcessCache(ProcfsProcessReader(PROC))),
    )
    counts = dict.fromkeys(("right", "unknown", "wrong"), 0)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        owners.refresh()
        ports = {listener.owner_key: listener.local_port for listener in source.listeners()}
        owners.resolve(ports.keys(), Live(ports))
        for inode, port in ports.items():
            owner = owners.owner_of(inode)
            if not isinstance(owner, ProcessId):
                counts["unknown"] += 1
            else:
                counts["right" if owners.process(owner).comm == f"c{port}" else "wrong"] += 1
        owners.retain(())
    os.kill(churning, signal.SIGKILL)
    os.waitpid(churning, 0)
    with os.fdopen(reader) as result:
        pids = result.read().split()
    print(json.dumps({**counts, "processes": len(pids), "pids": len(set(pids))}))


if __name__ == "__main__":
    main(float(sys.argv[1]))
