"""Dead file descriptors: open descriptors of TCP sockets that are in no kernel table.

The kernel removes a connection from its tables when it is reset or times out, which keepalive probes bring
about after the peer has closed. The descriptor stays until the process calls close().
"""

from __future__ import annotations

from typing import NamedTuple

from .process import ProcessId


class DeadFd(NamedTuple):
    """File descriptor whose TCP socket is in no kernel table of this network namespace."""

    owner: ProcessId
    was_connected: bool
    """Whether an earlier collection contained the socket with a connection. Otherwise the connection ended
    before the exporter observed it, or the socket was never connected, or is of another network namespace."""
    age_seconds: float
    """Time since the exporter first found the socket in no table: lower bound of the time without connection.
    A collection reports the descriptor if the previous one found it as well."""
