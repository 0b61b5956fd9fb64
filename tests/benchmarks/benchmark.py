"""The results of one run of the benchmark."""

from __future__ import annotations

from typing import NamedTuple

from .fit import exponent
from .rounds import Size
from .small_host import SmallHost


class Benchmark(NamedTuple):
    """Results by ascending size, the small host, and reader -> why it is absent."""

    sizes: tuple[Size, ...]
    small_host: SmallHost
    absent: dict[str, str]

    @property
    def largest(self) -> Size:
        return self.sizes[-1]

    def exponent(self, reader: str) -> float | None:
        """Return the exponent n of time ~ sockets^n for a reader."""
        measured = [size for size in self.sizes if reader in size.results]
        return exponent(
            [size.sockets for size in measured], [size.results[reader].seconds for size in measured]
        )

    def ratio(self, size: Size, reader: str, other: str) -> float | None:
        """Return the time of a reader divided by that of another; None if one of them is absent."""
        if reader not in size.results or other not in size.results:
            return None
        return size.results[reader].seconds / size.results[other].seconds
