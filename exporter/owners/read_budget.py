"""Budget for reading file descriptors again, so that suspicion alone never makes collections slow."""

from __future__ import annotations


class ReadBudget:
    """Number of descriptors that may be read: saved up from collection to collection, spent in bursts.

    Each collection adds its allowance, so the reads of many collections cannot exceed their allowances. What
    is saved, up to the capacity, may be spent in one collection.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._saved = capacity

    def refill(self, allowance: int) -> None:
        """Add the allowance of one collection."""
        self._saved = min(self._capacity, self._saved + allowance)

    def affords(self, reads: int, *, on_credit: bool = False) -> bool:
        """Return whether that many reads are allowed now.

        More than the capacity are allowed when all of it is saved.

        on_credit: allow spending up to the capacity before it is saved.
        """
        needed = min(reads, self._capacity)
        return needed <= self._saved + (self._capacity if on_credit else 0)

    def spend(self, reads: int) -> None:
        """Deduct these reads, which must be allowed."""
        self._saved = max(-self._capacity, self._saved - reads)

    def refund(self, reads: int) -> None:
        """Return reads that were worth their cost."""
        self.refill(reads)
