"""Placement of chart labels without overlap."""

from __future__ import annotations

from collections.abc import Sequence


def space_labels(positions: Sequence[float], spacing: float) -> list[float]:
    """Return the positions, moved up so that each is at least `spacing` above the next lower one."""
    moved = [0.0] * len(positions)
    lowest = float("-inf")
    for index in sorted(range(len(positions)), key=positions.__getitem__):
        moved[index] = max(positions[index], lowest)
        lowest = moved[index] + spacing
    return moved
