"""A machine with systemd as its first process, so that `systemctl` works.

It has the host's kernel, and nothing of its processes, files, network and control groups.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from ..running import PATIENCE, until

_TOOLS: Final = ("debootstrap", "unshare", "nsenter", "setpriv", "chroot", "pivot_root")

_BOOT: Final = """
root=$1
echo $$ >"$2/cgroup.procs"
exec unshare --mount --pid --cgroup --ipc --uts --net --fork --kill-child sh -ec '
  mount --make-rprivate /
  mount --bind "$1" "$1"
  cd "$1"
  mount -t proc proc proc
  mount -t sysfs -o ro sysfs sys
  mount -t cgroup2 cgroup2 sys/fs/cgroup
  mount -t tmpfs -o mode=755 tmpfs run
  mount -t tmpfs tmpfs tmp
  mount -t tmpfs -o mode=755 tmpfs dev
  for node in null zero full random urandom tty; do
    touch dev/$node
    mount --bind /dev/$node dev/$node
  done
  mkdir -p dev/pts dev/shm .host
  mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
  ln -s pts/ptmx dev/ptmx
  ln -s /proc/self/fd dev/fd
  mount -t tmpfs tmpfs dev/shm
  ip link set lo up
  pivot_root . .host
  umount -l .host
  exec env -i container=test PATH=/usr/sbin:/usr/bin:/sbin:/bin \\
    /lib/systemd/systemd --system --unit=multi-user.target --log-target=journal </dev/null >/dev/null 2>&1
' sh "$root"
"""


@cache
def missing() -> str | None:
    """Return why machines cannot run on this host, as the reason of a skip; None if they can."""
    if os.name != "posix" or os.geteuid() != 0:
        return "needs root on Linux"
    lacking = [tool for tool in _TOOLS if shutil.which(tool) is None]
    if lacking:
        return f"needs {', '.join(lacking)} (Debian packages debootstrap, util-linux)"
    if _control_groups() is None:
        return "needs a writable cgroup2 file system"
    return None


@cache
def _control_groups() -> Path | None:
    """Return the mount point of a writable cgroup v2 hierarchy."""
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, place, kind, *_ = line.split()
        if kind == "cgroup2" and os.access(place, os.W_OK):
            return Path(place)
    return None


class Machine:
    """A booted machine; a context manager."""

    def __init__(self, root: Path) -> None:
        self.root = root
        groups = _control_groups()
        assert groups is not None
        self._group = groups / f"machine-{os.getpid()}-{root.name}"
        self._unshare: subprocess.Popen[str] | None = None
        self._first = 0

    def __enter__(self) -> Self:
        self._group.mkdir()
        # It ends with us, even if we are killed.
        self._unshare = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "sh", "-ec", _BOOT, "sh", self.root, self._group],
            text=True,
        )
        try:
            self._first = self._wait_for_first(self._unshare)
            for _ in until("the machine has booted"):
                state = self.run("systemctl", "is-system-running", check=False).stdout.strip()
                if state == "running":
                    return self
                assert state != "degraded", self.run("systemctl", "--failed", "--no-pager").stdout
        except BaseException:
            self.close()
            raise
        raise AssertionError

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _wait_for_first(self, unshare: subprocess.Popen[str]) -> int:
        """Wait for systemd as process 1 of the machine and return its pid."""
        children = Path(f"/proc/{unshare.pid}/task/{unshare.pid}/children")
        for _ in until("the machine starts"):
            assert unshare.poll() is None, "the machine could not be started"
            for pid in children.read_text().split():
                if Path(f"/proc/{pid}/comm").read_text() == "systemd\n":
                    return int(pid)
        raise AssertionError

    def run(
        self,
        *argv: str | Path,
        check: bool = True,
        env: Mapping[str, str] | None = None,
        timeout: float = 300,
    ) -> subprocess.CompletedProcess[str]:
        """Run a program in the machine as root. A failure reports its output."""
        done = subprocess.run(
            ["nsenter", f"--target={self._first}", "--all", "--root", "--wd", "--", *argv],
            env={"PATH": "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", **(env or {})},
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout, check=False,
        )  # fmt: skip
        if check and done.returncode:
            words = " ".join(map(str, argv))
            raise AssertionError(f"{words} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
        return done

    def path(self, inside: str) -> Path:
        """Return the path on this host of a file of the machine."""
        return self.root / inside.lstrip("/")

    def put(self, file: Path, inside: str) -> str:
        """Copy a file into the machine and return its path there."""
        target = self.path(inside)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, target)
        return inside

    def journal(self, unit: str) -> str:
        return self.run("journalctl", "--no-pager", "--unit", unit).stdout

    def get(self, url: str) -> str:
        """Return the response of a URL in the machine."""
        code = f"import urllib.request as u; print(u.urlopen({url!r}, timeout={PATIENCE}).read().decode())"
        return self.run("python3", "-c", code).stdout

    def popen(self, *argv: str) -> subprocess.Popen[str]:
        """Start a program in the machine, connected by pipes."""
        words: Sequence[str] = ["nsenter", f"--target={self._first}", "--all", "--root", "--wd", "--", *argv]
        return subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def close(self) -> None:
        """Kill process 1, and so all processes of the machine."""
        if self._unshare is not None:
            with contextlib.suppress(ProcessLookupError):
                if self._first:
                    os.kill(self._first, signal.SIGKILL)
                else:
                    self._unshare.kill()
            self._unshare.wait(PATIENCE)
        for _ in until("the machine's control groups are empty"):
            try:
                for folder, _, _ in os.walk(self._group, topdown=False):
                    Path(folder).rmdir()
            except OSError:
                continue
            return
