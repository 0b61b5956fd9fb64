"""Connections in CLOSE_WAIT: how each is counted, why it stays, and since when."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ..analysis.classify import Classifier
from ..analysis.close_wait import cause
from ..model import Group, HalfClosed, made_from


class Stuck(NamedTuple):
    """A connection in CLOSE_WAIT: how it is counted, why it stays, and since when (seconds)."""

    half: HalfClosed
    group: Group
    cause: str
    age: float


_stuck = made_from(Stuck)


def stuck(
    aged: Sequence[tuple[HalfClosed, float]],
    before: Iterable[Group | None],
    classify: Classifier,
    *,
    counted: bool,
) -> list[Stuck]:
    """The connections with their ages. before: how each was counted when it was last seen, if it was.

    counted: whether that was in this look, so that it stands for those that are in CLOSE_WAIT there. MPTCP's
    are not counted with the others.
    """
    halves = [half for half, _ in aged]
    groups = [
        group if counted and group and group.state == half.socket.state else classify(half.socket, group)
        for half, group in zip(halves, before, strict=True)
    ]
    ages = (age for _, age in aged)
    return list(map(_stuck, zip(halves, groups, map(cause, halves), ages, strict=True)))
