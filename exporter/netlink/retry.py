"""Asks the kernel again where it was merely busy."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable
from typing import Final, TypeVar

from .transport import NetlinkError

T = TypeVar("T")

PASSING: Final = frozenset({errno.EBUSY, errno.EINTR, errno.ENOBUFS})
"""What the kernel answers for a moment (netlink(7)): another dump goes on, a signal came, there was no memory
for the next datagram. All else lasts: EPERM is a decision, and who did not answer has had the time to."""

PAUSES: Final = (0.02, 0.1, 0.4)
"""Seconds to wait before each further attempt."""

WITHIN: Final = 2.0
"""Seconds after which there is no further attempt: a scrape has a timeout."""


def while_busy(
    read: Callable[[], T],
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> T:
    """What `read` gives, which is begun anew where the kernel was busy, also half way.

    Raises NetlinkError where it stays busy, and whatever else `read` raises.
    """
    give_up_at = clock() + WITHIN
    for pause in PAUSES:
        try:
            return read()
        except NetlinkError as failure:
            if failure.errno not in PASSING or clock() + pause > give_up_at:
                raise
        sleep(pause)
    return read()
