"""The limit on open file descriptors (RLIMIT_NOFILE), and how many connections fit below it."""

from __future__ import annotations

from typing import Final

RESERVED_FDS: Final = 48
"""File descriptors reserved for the exporter itself (netlink, /proc, listeners, log), so that client
connections cannot exhaust them. They include the few connections that have been accepted, but not yet closed
or counted: the server accepts one at a time from each listener."""


def raise_fd_limit(max_connections: int) -> int:
    """Raise the soft limit, where it is low and the hard limit allows it, until `max_connections` fit.

    Return how many connections fit, at least one.
    """
    needed = max_connections + RESERVED_FDS
    limit = _raise_soft_limit(needed)
    return max_connections if limit is None else max(1, min(max_connections, limit - RESERVED_FDS))


def _raise_soft_limit(needed: int) -> int | None:
    """Return the soft limit, raised to `needed` if that is possible; None without a limit."""
    try:
        import resource
    except ImportError:  # Windows, where sockets are no file descriptors
        return None
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return None
    if soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return soft
