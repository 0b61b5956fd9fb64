"""How many connections there is room for among the descriptors that this process may have."""

from __future__ import annotations

from typing import Final

OURS: Final = 48
"""Descriptors that are not for clients: to read netlink and /proc, to listen on some addresses, to log. Kept
free, so that clients who come by the hundred never keep a scrape from being made."""

_AT_THE_DOOR: Final = 3 * 128
"""Connections that asyncio accepts, in three rounds of its loop, before it hears that they are too many."""


def make(most: int) -> int:
    """Raises the soft limit of descriptors, where it is low and the hard one allows, until `most` connections
    fit; gives how many do, at least one."""
    wanted = most + _AT_THE_DOOR + OURS
    limit = _raised(wanted)
    return most if limit is None or limit >= wanted else max(1, min(most, limit - OURS))


def _raised(wanted: int) -> int | None:
    """The soft limit (RLIMIT_NOFILE), at least `wanted` if that can be; None without a limit."""
    try:
        import resource
    except ImportError:  # Windows, where sockets are no descriptors
        return None
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return None
    if soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return soft
