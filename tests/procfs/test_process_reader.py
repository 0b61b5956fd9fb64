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

    def test_without_init_there_is_nothing_last(self, tree: Tree) -> None:
        tree.kill(1)
        tree.process(3)
        assert list_pids(tree.root) == [3]

    def test_where_there_is_no_proc_it_raises(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError):
            list_pids(tmp_path / "none")

    def test_we_are_among_the_real_ones(self) -> None:
        pids = list_pids(PROC)
        assert os.getpid() in pids
        assert set(pids) >= {os.getpid(), os.getppid()}


class TestIdentity:
    @pytest.mark.parametrize("comm", COMMS)
    def test_a_comm_may_hold_anything(self, tree: Tree, comm: bytes) -> None:
        tree.process(PID, comm=comm, started=12345)
        identity, name = ProcfsProcessReader(tree.root).identify(PID)
        assert identity == ProcessId(PID, 12345 / TICKS)
        assert name.encode("utf-8", "surrogateescape") == comm

    def test_is_another_when_the_pid_is_used_again(self, tree: Tree) -> None:
        tree.process(PID, started=100)
        before, _ = ProcfsProcessReader(tree.root).identify(PID)
        tree.name(PID, "worker", started=101)
        after, _ = ProcfsProcessReader(tree.root).identify(PID)
        assert before.pid == after.pid
        assert before != after

    def test_is_the_same_under_another_name(self, tree: Tree) -> None:
        tree.process(PID)
        before = ProcfsProcessReader(tree.root).identify(PID)
        tree.name(PID, "renamed")
        after = ProcfsProcessReader(tree.root).identify(PID)
        assert before[0] == after[0]
        assert (before[1], after[1]) == ("worker", "renamed")

    def test_raises_for_nobody(self, tree: Tree) -> None:
        with pytest.raises(FileNotFoundError):
            ProcfsProcessReader(tree.root).identify(PID)

    def test_raises_for_a_stat_cut_off_anywhere_before_it(self, tree: Tree) -> None:
        tree.process(PID, comm="a) b", started=77)
        path = tree.root / str(PID) / "stat"
        whole = path.read_bytes()
        enough = whole.index(b" 77 ")
        for length in range(enough + 1):
            path.write_bytes(whole[:length])
            with pytest.raises(ProcessLookupError):
                ProcfsProcessReader(tree.root).identify(PID)

    @pytest.mark.parametrize("content", [b"500 (a) " + b"S " * 40, b"500 (a", b"nonsense", b") ("])
    def test_raises_for_a_stat_without_a_meaning(self, tree: Tree, content: bytes) -> None:
        tree.process(PID)
        (tree.root / str(PID) / "stat").write_bytes(content)
        with pytest.raises(ProcessLookupError):
            ProcfsProcessReader(tree.root).identify(PID)


class TestDescription:
    def test_has_the_comm_only_when_no_more_is_asked_for(self, tree: Tree) -> None:
        tree.process(PID, comm="nginx", started=250 * TICKS, cmdline="nginx\0-g\0")
        described = ProcfsProcessReader(tree.root).describe(PID, details=False)
        assert described == Process(PID, BOOT_TIME + 250, "nginx")

    def test_has_all_there_is_when_asked_for_it(self, tree: Tree) -> None:
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
    def test_has_the_arguments(self, tree: Tree, content: bytes, arguments: tuple[str, ...]) -> None:
        tree.process(PID, cmdline=content)
        assert ProcfsProcessReader(tree.root).describe(PID, details=True).cmdline == arguments

    def test_command_line_is_read_up_to_128_kib(self, tree: Tree) -> None:
        tree.process(PID, cmdline=b"java\0" + b"x" * 131_066 + b"y" + b"z" * 1_000_000)
        arguments = ProcfsProcessReader(tree.root).describe(PID, details=True).cmdline
        assert arguments == ("java", "x" * 131_066 + "y")

    def test_is_empty_where_nothing_can_be_read(self, tree: Tree) -> None:
        tree.process(PID)
        described = ProcfsProcessReader(tree.root).describe(PID, details=True)
        assert (described.cmdline, described.cwd, described.cgroups) == ((), "", ())
        assert (described.unit, described.container) == ("", "")

    @pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give a file away")
    def test_has_the_number_of_a_user_without_a_name(self, tree: Tree) -> None:
        tree.process(PID)
        os.chown(tree.root / str(PID), 3_000_000_000, 0)
        assert ProcfsProcessReader(tree.root).describe(PID, details=True).username == "3000000000"

    @pytest.mark.parametrize("details", [False, True])
    def test_does_without_the_time_of_boot(self, tree: Tree, details: bool) -> None:
        """/proc mounted with subset=pid has the processes, and no /proc/stat."""
        tree.process(PID, comm="nginx", started=250 * TICKS)
        (tree.root / "stat").unlink()
        described = ProcfsProcessReader(tree.root).describe(PID, details)
        assert (described.comm, described.started_at) == ("nginx", 250)

    @pytest.mark.parametrize("details", [False, True])
    def test_raises_for_nobody(self, tree: Tree, details: bool) -> None:
        with pytest.raises(FileNotFoundError):
            ProcfsProcessReader(tree.root).describe(PID, details)


def _renamed(comm: bytes) -> tuple[str, int]:
    """Takes a name as programs do."""
    assert ctypes.CDLL(None).prctl(PR_SET_NAME, ctypes.c_char_p(comm), 0, 0, 0) == 0
    identity, name = ProcfsProcessReader(PROC).identify(os.getpid())
    return name, identity.pid - os.getpid()


class TestRealProcesses:
    def test_we_are_described_as_psutil_describes_us(self) -> None:
        ours, theirs = (
            reader.describe(os.getpid(), details=True)
            for reader in (ProcfsProcessReader(PROC), PsutilProcessReader())
        )
        assert ours.started_at == pytest.approx(theirs.started_at, abs=1)
        assert (ours.cmdline, ours.username, ours.cwd) == (theirs.cmdline, theirs.username, theirs.cwd)
        assert theirs.comm.startswith(ours.comm)
        assert ours.cgroups

    @pytest.mark.parametrize("comm", COMMS)
    def test_any_name_that_a_process_takes_is_read(self, comm: bytes) -> None:
        assert in_child(_renamed, comm) == (comm.decode("utf-8", "surrogateescape"), 0)

    def test_a_kernel_thread_or_any_other_process_is_described(self) -> None:
        reader, described = ProcfsProcessReader(PROC), 0
        for pid in list_pids(PROC):
            try:
                described += reader.describe(pid, details=True).pid == pid
            except (FileNotFoundError, ProcessLookupError):
                continue
        assert described >= 1

    @pytest.mark.parametrize("reader", [ProcfsProcessReader(PROC), PsutilProcessReader()])
    def test_a_process_is_there_until_it_is_reaped(
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
