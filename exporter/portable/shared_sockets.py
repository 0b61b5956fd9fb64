"""Sockets that several processes have open, on Linux: psutil reports the last of them, not the lowest pid."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from ..procfs.process_reader import list_pids


class LowestHolders:
    """Finds the lowest pid that has a socket open, init last, as with netlink.

    psutil reports no inodes, but one holder and its descriptor: this reads the links of all descriptors once
    more, as psutil does (6 us each).
    """

    def __init__(self, procfs: Path) -> None:
        self._procfs = procfs
        self._lowest: dict[str, int] = {}
        self._links: dict[tuple[int, int], str] = {}

    def refresh(self) -> None:
        """Read the descriptors of all processes that are readable."""
        self._lowest.clear()
        self._links.clear()
        try:
            pids = list_pids(self._procfs)
        except OSError:
            return
        for pid in pids:
            for fd, link in self._read_links(pid):
                lowest = self._lowest.setdefault(link, pid)
                if lowest != pid:
                    self._links[pid, fd] = link

    def find(self, pid: int, fd: int) -> int:
        """Return the lowest pid that has the socket of this descriptor open."""
        link = self._links.get((pid, fd))
        return pid if link is None else self._lowest[link]

    def _read_links(self, pid: int) -> Iterator[tuple[int, str]]:
        directory = f"{self._procfs}/{pid}/fd"
        try:
            names = os.listdir(directory)
        except OSError:
            return
        for name in names:
            try:
                link = os.readlink(f"{directory}/{name}")
            except OSError:
                continue
            if link.startswith("socket:["):
                yield int(name), link
