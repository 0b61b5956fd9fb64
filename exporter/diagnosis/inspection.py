"""Steps to look into a process that hangs, to restart one, and to fix it."""

from __future__ import annotations

from collections.abc import Sequence

from . import windows_steps
from .formatting import format_pids, paragraphs


def inspect_threads_steps(
    name: str, pid: int | None, *, workers: Sequence[int] = (), windows: bool
) -> tuple[str, ...]:
    """Return the step that shows what a process waits for.

    name: its short name. workers: pids of its workers, which are to be looked into instead.
    """
    if windows:
        return windows_steps.inspect_threads_steps(name, pid)
    subject = f"each worker of {name} ({format_pids(workers)})" if workers else f"each thread of {name}"
    number = workers[0] if workers else "PID" if pid is None else pid
    return paragraphs(f"""
        Find what {subject} waits for: `jstack {number}` (Java), `py-spy dump --pid {number}` (Python),
        `gdb -p {number}` (others).
    """)


def inspect_children_steps(pid: int | None, *, windows: bool) -> tuple[str, ...]:
    """Return the step for a listener whose owner is possibly a master process with unknown workers."""
    if windows or pid is None:
        return ()
    return paragraphs(f"""
        Look into its child processes instead if {pid} is a master process whose workers accept:
        `pgrep -P {pid} -a` lists them.
    """)


def restart_steps(name: str) -> tuple[str, ...]:
    """Return the step for a program that does not close. name: its short name."""
    return paragraphs(f"""
        Restart {name} to free the file descriptors immediately: without `close()` nothing else does, no
        sysctl and no keepalive. They will accumulate again until the program is fixed.
    """)


def fix_missing_close_steps(*, is_outbound: bool | None) -> tuple[str, ...]:
    """Return the step for a program that leaks connections. is_outbound: None if that is unknown."""
    inbound, outbound = "a connection kept in a table", "a response not closed or not read to its end"
    kept = f"{inbound}, {outbound}" if is_outbound is None else outbound if is_outbound else inbound
    return paragraphs(f"""
        Fix the code path that does not call `close()`: {kept}, an error path that skips it, or a forked
        child that still has the socket.
    """)
