"""Processes as /proc shows them, made up ones and real ones."""

from __future__ import annotations

import ctypes
import getpass
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from exporter.model.process import Process, ProcessId
from exporter.portable.psutil_process import PsutilProcessReader
from exporter.procfs.process_reader import ProcfsProcessReader, list_pids

from ..children import in_child
from .trees import BOOT_TIME, TICKS, Tree

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")

PROC = Path("/proc")
PID = 500
PR_SET_NAME = 15

COMMS = [
    b"nginx",
    b"a b",
    b" lead",
    b"trail ",
    b"(sd-pam)",
    b"a) S 1 2 3 (b",
    b")",
    b"(",
    b"))((",
    b"line\nend",
    b"\xff\xfe\x80",
    "ünïcødé".encode(),
    b"",
]


class TestListing:
    def test_pids_ascend_and_init_is_last(self, tree: Tree) -> None:
        for pid in (2, 10, 9, 100, 32768):
            tree.process(pid)
        assert list_pids(tree.root) == [2, 9, 10, 100, 32768, 1]

    def test_pids_without_init_ascend(self, tree: Tree) -> None:
        tree.kill(1)
        tree.process(3)
        assert list_pids(tree.root) == [3]

    def test_raises_without_proc(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError):
            list_pids(tmp_path / "none")

    def test_own_pid_is_listed(self) -> None:
        pids = list_pids(PROC)
        assert os.getpid() in pids
        assert set(pids) >= {os.getpid(), os.getppid()}


class TestIdentity:
    @pytest.mark.parametrize("comm", COMMS)
    def test_comm_with_any_characters_is_read(self, tree: Tree, comm: bytes) -> None:
        tree.process(PID, comm=comm, started=12345)
        identity, name = ProcfsProcessReader(tree.root).identify(PID)
        assert identity == ProcessId(PID, 12345 / TICKS)
        assert name.encode("utf-8", "surrogateescape") == comm

    def test_differs_when_the_pid_is_reused(self, tree: Tree) -> None:
        tree.process(PID, started=100)
        before, _ = ProcfsProcessReader(tree.root).identify(PID)
        tree.name(PID, "worker", started=101)
        after, _ = ProcfsProcessReader(tree.root).identify(PID)
        assert before.pid == after.pid
        assert before != after

    def test_stays_when_the_comm_changes(self, tree: Tree) -> None:
        tree.process(PID)
        before = ProcfsProcessReader(tree.root).identify(PID)
        tree.name(PID, "renamed")
        after = ProcfsProcessReader(tree.root).identify(PID)
        assert before[0] == after[0]
        assert (before[1], after[1]) == ("worker", "renamed")

    def test_raises_for_an_unused_pid(self, tree: Tree) -> None:
        with pytest.raises(FileNotFoundError):
            ProcfsProcessReader(tree.root).identify(PID)

    def test_raises_for_a_truncated_stat(self, tree: Tree) -> None:
        tree.process(PID, comm="a) b", started=77)
        path = tree.root / str(PID) / "stat"
        whole = path.read_bytes()
        enough = whole.index(b" 77 ")
        for length in range(enough + 1):
            path.write_bytes(whole[:length])
            with pytest.raises(ProcessLookupError):
                ProcfsProcessReader(tree.root).identify(PID)

    @pytest.mark.parametrize("content", [b"500 (a) " + b"S " * 40, b"500 (a", b"nonsense", b") ("])
    def test_raises_for_a_malformed_stat(self, tree: Tree, content: bytes) -> None:
        tree.process(PID)
        (tree.root / str(PID) / "stat").write_bytes(content)
        with pytest.raises(ProcessLookupError):
            ProcfsProcessReader(tree.root).identify(PID)


class TestDescription:
    def test_has_only_the_comm_without_details(self, tree: Tree) -> None:
        tree.process(PID, comm="nginx", started=250 * TICKS, cmdline="nginx\0-g\0")
        described = ProcfsProcessReader(tree.root).describe(PID, details=False)
        assert described == Process(PID, BOOT_TIME + 250, "nginx")

    def test_has_all_attributes_with_details(self, tree: Tree) -> None:
        container = "ab" * 32
        tree.process(
            PID,
            comm="nginx",
            started=250 * TICKS,
            cmdline=b"/usr/sbin/nginx\0-g\0daemon off;\0\xff\0",
            cgroup=f"1:name=systemd:/\n0::/system.slice/nginx.service/docker-{container}.scope\n",
        )
        (tree.root / str(PID) / "cwd").symlink_to("/var/www")
        assert ProcfsProcessReader(tree.root).describe(PID, details=True) == Process(
            pid=PID,
            started_at=BOOT_TIME + 250,
            comm="nginx",
            cmdline=("/usr/sbin/nginx", "-g", "daemon off;", "\udcff"),
            username=getpass.getuser(),
            cwd="/var/www",
            cgroups=("/", f"/system.slice/nginx.service/docker-{container}.scope"),
            unit=f"docker-{container}.scope",
            container=container,
        )

    @pytest.mark.parametrize(
        ("content", "arguments"),
        [
            (b"", ()),
            (b"a\0", ("a",)),
            (b"a\0b c\0", ("a", "b c")),
            (b"a\0\0b\0", ("a", "", "b")),
            (b"postgres: writer", ("postgres: writer",)),
            (b"renamed itself\0\0\0\0", ("renamed itself",)),
        ],
    )
    def test_command_line_is_split_into_arguments(
        self, tree: Tree, content: bytes, arguments: tuple[str, ...]
    ) -> None:
        tree.process(PID, cmdline=content)
        assert ProcfsProcessReader(tree.root).describe(PID, details=True).cmdline == arguments

    def test_command_line_is_read_up_to_128_kib(self, tree: Tree) -> None:
        tree.process(PID, cmdline=b"java\0" + b"x" * 131_066 + b"y" + b"z" * 1_000_000)
        arguments = ProcfsProcessReader(tree.root).describe(PID, details=True).cmdline
        assert arguments == ("java", "x" * 131_066 + "y")

    def test_unreadable_attributes_are_empty(self, tree: Tree) -> None:
        tree.process(PID)
        described = ProcfsProcessReader(tree.root).describe(PID, details=True)
        assert (described.cmdline, described.cwd, described.cgroups) == ((), "", ())
        assert (described.unit, described.container) == ("", "")

    @pytest.mark.skipif(
        not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs root, to give a file away"
    )
    def test_unnamed_user_is_returned_by_uid(self, tree: Tree) -> None:
        tree.process(PID)
        os.chown(tree.root / str(PID), 3_000_000_000, 0)
        assert ProcfsProcessReader(tree.root).describe(PID, details=True).username == "3000000000"

    @pytest.mark.parametrize("details", [False, True])
    def test_start_time_without_boot_time(self, tree: Tree, details: bool) -> None:
        """/proc mounted with subset=pid has the processes, and no /proc/stat."""
        tree.process(PID, comm="nginx", started=250 * TICKS)
        (tree.root / "stat").unlink()
        described = ProcfsProcessReader(tree.root).describe(PID, details)
        assert (described.comm, described.started_at) == ("nginx", 250)

    @pytest.mark.parametrize("details", [False, True])
    def test_raises_for_an_unused_pid(self, tree: Tree, details: bool) -> None:
        with pytest.raises(FileNotFoundError):
            ProcfsProcessReader(tree.root).describe(PID, details)


def _renamed(comm: bytes) -> tuple[str, int]:
    """Takes a name as programs do."""
    assert ctypes.CDLL(None).prctl(PR_SET_NAME, ctypes.c_char_p(comm), 0, 0, 0) == 0
    identity, name = ProcfsProcessReader(PROC).identify(os.getpid())
    return name, identity.pid - os.getpid()


class TestRealProcesses:
    def test_attributes_equal_those_of_psutil(self) -> None:
        ours, theirs = (
            reader.describe(os.getpid(), details=True)
            for reader in (ProcfsProcessReader(PROC), PsutilProcessReader())
        )
        assert ours.started_at == pytest.approx(theirs.started_at, abs=1)
        assert (ours.cmdline, ours.username, ours.cwd) == (theirs.cmdline, theirs.username, theirs.cwd)
        assert theirs.comm.startswith(ours.comm)
        assert ours.cgroups

    @pytest.mark.parametrize("comm", COMMS)
    def test_any_comm_of_a_process_is_read(self, comm: bytes) -> None:
        assert in_child(_renamed, comm) == (comm.decode("utf-8", "surrogateescape"), 0)

    def test_every_process_of_this_host_is_described(self) -> None:
        reader, described = ProcfsProcessReader(PROC), 0
        for pid in list_pids(PROC):
            try:
                described += reader.describe(pid, details=True).pid == pid
            except (FileNotFoundError, ProcessLookupError):
                continue
        assert described >= 1

    @pytest.mark.parametrize("reader", [ProcfsProcessReader(PROC), PsutilProcessReader()])
    def test_zombie_exists_until_it_is_reaped(
        self, reader: ProcfsProcessReader | PsutilProcessReader
    ) -> None:
        with subprocess.Popen(["sleep", "60"]) as process:
            before = reader.identify(process.pid)
            process.kill()
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
            assert reader.identify(process.pid) == before
        asks: list[Callable[[], object]] = [
            lambda: reader.identify(process.pid),
            lambda: reader.describe(process.pid, details=True),
        ]
        for ask in asks:
            with pytest.raises((FileNotFoundError, ProcessLookupError)):
                ask()
