"""The rule of Windows' firewall that admits Prometheus, through netsh."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Collection, Sequence
from pathlib import PureWindowsPath
from typing import Final

Run = Callable[[Sequence[str]], int]
"""Runs a program with its arguments, and returns its exit status."""

_FIREWALL: Final = ("advfirewall", "firewall")


def allow_inbound(name: str, program: str, ports: Collection[int], run: Run | None = None) -> None:
    """Make the rule, instead of earlier ones of this name. Raises OSError.

    program: path of the executable that listens. ports: TCP ports.
    """
    run_netsh = run or _run
    remove_rule(name, run_netsh)
    rule = [
        f"name={name}",
        "dir=in",
        "action=allow",
        "protocol=TCP",
        "localport=" + ",".join(map(str, sorted(ports))),
        f"program={program}",
    ]
    if status := run_netsh([_netsh(), *_FIREWALL, "add", "rule", *rule]):
        raise OSError(f"netsh cannot make the firewall rule: exit status {status}")


def remove_rule(name: str, run: Run | None = None) -> None:
    """Remove the rules of this name. netsh fails if there are none, which is ignored. Raises OSError."""
    (run or _run)([_netsh(), *_FIREWALL, "delete", "rule", f"name={name}"])


def _netsh() -> str:
    # The full path: a program of this name in the current directory must not run as administrator.
    return str(PureWindowsPath(os.environ.get("SYSTEMROOT", r"C:\Windows"), "System32", "netsh.exe"))


def _run(command: Sequence[str]) -> int:
    finished = subprocess.run(  # noqa: S603  # the path is complete
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False
    )
    return finished.returncode
