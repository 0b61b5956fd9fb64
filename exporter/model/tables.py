"""When a dict is to be made anew of which entries come and go."""

from __future__ import annotations

from typing import Final

# So many more entries may be kept than are of use, where there is room for them.
_SLACK: Final = 0.25
# So many may come at once before anybody can do something about it.
_AT_ONCE: Final = 1 / 16


def entries_at_most(used: int) -> int:
    """The number of entries that a dict may hold of which so many are used; deleted ones count, too, as their
    places are not used again (Objects/dictobject.c).

    Full, its table is made twice as big, 2.5 MiB at 75,000 entries: it is to be made anew before that, unless
    that would be all the time.
    """
    most = used + int(_SLACK * used)
    nearly_full = _room(used) - int(_AT_ONCE * used)
    return min(most, nearly_full) if nearly_full > used + _AT_ONCE * used else most


def _room(entries: int) -> int:
    """How many the table holds that was made for so many: two thirds of a power of two."""
    size = 8
    while size * 2 // 3 < entries:
        size *= 2
    return size * 2 // 3
