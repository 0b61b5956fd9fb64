"""Labels that keep their distance."""

from __future__ import annotations

from collections.abc import Sequence


def spread(positions: Sequence[float], spacing: float) -> list[float]:
    """Positions, in the same order, moved up so that each is at least `spacing` above the one below."""
    moved = [0.0] * len(positions)
    lowest = float("-inf")
    for index in sorted(range(len(positions)), key=positions.__getitem__):
        moved[index] = max(positions[index], lowest)
        lowest = moved[index] + spacing
    return moved
