"""Repeats a netlink request after a transient error."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable
from typing import Final, TypeVar

from .transport import NetlinkError

_T = TypeVar("_T")

TRANSIENT_ERRNOS: Final = frozenset({errno.EBUSY, errno.EINTR, errno.ENOBUFS})
"""Errors that are transient (netlink(7)): another dump is running, a signal arrived, no memory for the next
datagram. All others are permanent: EPERM is a decision, and a timeout has already taken seconds."""

BACKOFF_SECONDS: Final = (0.02, 0.1, 0.4)
"""Delay before each further attempt."""

MAX_RETRY_SECONDS: Final = 2.0
"""Time after which no further attempt is started, since a scrape has a timeout."""


def retry_transient(
    read: Callable[[], _T],
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> _T:
    """Return the result of `read`, which is called again after a transient error.

    Raises NetlinkError if the error persists, and every other exception of `read`.
    """
    give_up_at = clock() + MAX_RETRY_SECONDS
    for delay in BACKOFF_SECONDS:
        try:
            return read()
        except NetlinkError as error:
            if error.errno not in TRANSIENT_ERRNOS or clock() + delay > give_up_at:
                raise
        sleep(delay)
    return read()
