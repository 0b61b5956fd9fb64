"""Ports of the demo: free ones of 127.0.0.1, chosen before anything starts."""

from __future__ import annotations

import socket
from typing import Final, NamedTuple

HOME: Final = "127.0.0.1"

_NEARBY: Final = 100


class Ports(NamedTuple):
    """One port per program: similar to the standard port, but rarely in use."""

    exporter: int = 19066
    prometheus: int = 19090
    alertmanager: int = 19093
    receiver: int = 19095
    leaky: int = 19631
    tidy: int = 19432


def free_ports() -> Ports:
    """The usual ports, or where one is taken the next free one."""
    return Ports(*map(_free, Ports()))


def _free(first: int) -> int:
    for port in range(first, first + _NEARBY):
        with socket.socket() as trial:
            # As servers do: what is left of connections that have ended does not matter.
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                trial.bind((HOME, port))
            except OSError:
                continue
            return port
    raise RuntimeError(f"no port is free on {HOME} between {first} and {first + _NEARBY}")
