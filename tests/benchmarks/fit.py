"""How cost grows with the number of sockets."""

from __future__ import annotations

from collections.abc import Sequence
from math import log
from statistics import linear_regression


def exponent(sockets: Sequence[float], seconds: Sequence[float]) -> float | None:
    """The power of the number of sockets that time grows with: 1 is linear. The slope of the line through the
    logarithms, by least squares; None with fewer than two sizes."""
    if len(set(sockets)) < 2:
        return None
    return linear_regression([log(number) for number in sockets], [log(time) for time in seconds]).slope
