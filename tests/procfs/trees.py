"""A /proc of one's own, and a watch on the system calls that go there."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

BOOT_TIME: Final = 1_700_000_000
TICKS: Final = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Tree:
    """Processes and what /proc shows of them. Layouts: proc_pid_stat(5) and its neighbours."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(exist_ok=True)
        (root / "stat").write_text(f"cpu  1 2 3 4\nbtime {BOOT_TIME}\nprocesses 5\n")
        (root / "self").symlink_to("1")
        (root / "net").mkdir()
        self.process(1, comm="init")

    def process(
        self, pid: int, *sockets: int, comm: str | bytes = "worker", started: int = 100, **files: str | bytes
    ) -> None:
        """Starts a process that holds these sockets from descriptor 3 on; 0 to 2 are no sockets.
        `files`: what else there is to be read, such as cmdline and cgroup."""
        directory = self.root / str(pid)
        (directory / "fd").mkdir(parents=True)
        for number in range(3):
            self.put(pid, number, "/dev/null")
        for number, inode in enumerate(sockets, 3):
            self.hold(pid, number, inode)
        self.name(pid, comm, started)
        for name, content in files.items():
            (directory / name).write_bytes(content.encode() if isinstance(content, str) else content)

    def name(self, pid: int, comm: str | bytes, started: int = 100) -> None:
        """Give a process another comm, or the pid to another process."""
        raw = comm.encode() if isinstance(comm, str) else comm
        fields = [b"S", *(b"%d" % number for number in range(4, 22)), b"%d" % started, b"4096", b"1"]
        (self.root / str(pid) / "stat").write_bytes(b"%d (%b) %b\n" % (pid, raw, b" ".join(fields)))

    def put(self, pid: int, number: int, target: str) -> None:
        """Opens a descriptor, in place of the one that was there."""
        link = self.root / str(pid) / "fd" / str(number)
        link.unlink(missing_ok=True)
        link.symlink_to(target)

    def hold(self, pid: int, number: int, inode: int) -> None:
        """Has a descriptor be a socket."""
        self.put(pid, number, f"socket:[{inode}]")

    def thread(self, pid: int, tid: int, *targets: str) -> Path:
        """Start a thread with these descriptors, and return their directory."""
        directory = self.root / str(pid) / "task" / str(tid) / "fd"
        directory.mkdir(parents=True)
        # The main thread has a directory as well.
        (self.root / str(pid) / "task" / str(pid)).mkdir(exist_ok=True)
        for number, target in enumerate(targets):
            (directory / str(number)).symlink_to(target)
        return directory

    def close(self, pid: int, number: int) -> None:
        (self.root / str(pid) / "fd" / str(number)).unlink()

    def kill(self, pid: int) -> None:
        shutil.rmtree(self.root / str(pid))


class Watch:
    """Stands between the code and the system calls on a tree: counts, hooks, and tells how many descriptors
    a process has as Linux 6.2 does (a directory elsewhere says nothing of the kind)."""

    def __init__(self, tree: Tree, patch: Callable[[object, str, object], None]) -> None:
        self.tells_count = True
        """Linux before 6.2 always says 0."""
        self.read: list[tuple[int, int]] = []
        """Process and descriptor of each link read."""
        self.hook: Callable[[int, int], None] = lambda *_: None
        """Called with both before a link is read."""
        self._root = str(tree.root)
        self._stat, self._readlink = os.stat, os.readlink
        patch(os, "stat", self.stat)
        patch(os, "readlink", self.readlink)

    def links(self) -> list[tuple[int, int]]:
        """Return what was read since the last call."""
        read, self.read = self.read, []
        return read

    def stat(self, path: Any, *arguments: Any, **options: Any) -> os.stat_result:
        result = self._stat(path, *arguments, **options)
        if not str(path).startswith(self._root) or not str(path).endswith("/fd"):
            return result
        count = len(list(Path(path).iterdir())) if self.tells_count else 0
        return os.stat_result((*result[:6], count, *result[7:10]))

    def readlink(self, path: Any, *, dir_fd: int | None = None) -> str:
        if dir_fd is not None:
            directory = self._readlink(f"/proc/self/fd/{dir_fd}")
            if directory.startswith(self._root):
                pid, number = int(directory.split("/")[-2]), int(path)
                self.hook(pid, number)
                self.read.append((pid, number))
        return str(self._readlink(path, dir_fd=dir_fd))
