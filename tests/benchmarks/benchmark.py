"""All that one run of the benchmark measured."""

from __future__ import annotations

from typing import NamedTuple

from .fit import exponent
from .rounds import Size
from .small_host import SmallHost


class Benchmark(NamedTuple):
    """The sizes in ascending order, the small host, and why some contenders are absent."""

    sizes: tuple[Size, ...]
    small_host: SmallHost
    absent: dict[str, str]

    @property
    def largest(self) -> Size:
        return self.sizes[-1]

    def exponent(self, contender: str) -> float | None:
        """The power of the number of sockets that this contender's time grows with."""
        measured = [size for size in self.sizes if contender in size.results]
        return exponent(
            [size.sockets for size in measured], [size.results[contender].seconds for size in measured]
        )

    def ratio(self, size: Size, contender: str, other: str) -> float | None:
        """How many times the other's time this one takes; None where one of them is absent."""
        if contender not in size.results or other not in size.results:
            return None
        return size.results[contender].seconds / size.results[other].seconds
