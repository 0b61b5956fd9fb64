"""Cost of one run of a reader, and the median of several."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import NamedTuple


class Measurement(NamedTuple):
    """Wall and CPU seconds, and resident bytes of the process (None: unknown)."""

    seconds: float
    cpu_seconds: float
    resident_bytes: int | None


class Result(NamedTuple):
    """Medians over all rounds, and the wall seconds of each."""

    seconds: float
    cpu_seconds: float
    resident_bytes: int | None
    each: tuple[float, ...]

    @classmethod
    def of(cls, measured: Sequence[Measurement]) -> Result:
        resident = [one.resident_bytes for one in measured if one.resident_bytes is not None]
        each = tuple(one.seconds for one in measured)
        return cls(
            median(each),
            median(one.cpu_seconds for one in measured),
            round(median(resident)) if resident else None,
            each,
        )
