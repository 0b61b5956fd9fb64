"""Makes named tuples by the tens of thousands."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeVar, cast

_Row = TypeVar("_Row", bound=tuple[object, ...])


def made_from(kind: type[_Row]) -> Callable[[tuple[object, ...]], _Row]:
    """Makes one of this kind from all its fields, as its _make() does (collections.namedtuple), in three
    quarters of the time: there is no call in Python, and nobody counts the fields."""
    return cast(Callable[[tuple[object, ...]], _Row], partial(tuple.__new__, kind))
