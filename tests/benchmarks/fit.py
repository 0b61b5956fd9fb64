"""Scaling of cost with the number of sockets."""

from __future__ import annotations

from collections.abc import Sequence
from math import log
from statistics import linear_regression


def exponent(sockets: Sequence[float], seconds: Sequence[float]) -> float | None:
    """Return the exponent n of time ~ sockets^n; 1 is linear.

    It is the slope of the linear regression of the logarithms; None with fewer than two sizes.
    """
    if len(set(sockets)) < 2:
        return None
    return linear_regression([log(number) for number in sockets], [log(time) for time in seconds]).slope
