"""Descriptors are counted as the process itself would, and its soft limit is what the kernel says."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.model.host import FdUsage
from exporter.procfs.fd_usage import count_open_fds, read_fd_limit, read_fd_usage

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")

PROC = Path("/proc")
LIMITS = """\
Limit                     Soft Limit           Hard Limit           Units     
Max processes             4096                 4096                 processes 
Max open files            {soft:<20} 1048576              files     
Max locked memory         unlimited            unlimited            bytes     
"""  # noqa: W291  # as the kernel pads it


def tree(root: Path, limits: str, files: int = 0) -> Path:
    """A /proc in which process 10 has these limits and this many open files."""
    (root / "10/fd").mkdir(parents=True)
    (root / "10/limits").write_text(limits)
    for number in range(files):
        (root / "10/fd" / str(number)).symlink_to("/dev/null")
    return root


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    """A process that waits, with stdin, stdout and stderr open."""
    process = subprocess.Popen(
        ["sh", "-c", "echo started; read line"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(("soft", "limit"), [("1024", 1024), ("0", 0), ("unlimited", None)])
def test_limit_is_the_soft_limit_of_open_files(tmp_path: Path, soft: str, limit: int | None) -> None:
    assert read_fd_limit(tree(tmp_path, LIMITS.format(soft=soft)), 10) == limit


@pytest.mark.parametrize(
    "limits", ["", "Max open files\n", LIMITS.format(soft="many"), LIMITS.format(soft="-1")]
)
def test_malformed_limits_raise_process_lookup_error(tmp_path: Path, limits: str) -> None:
    with pytest.raises(ProcessLookupError, match="process 10"):
        read_fd_limit(tree(tmp_path, limits), 10)


@given(st.binary())
def test_any_limits_are_read_or_raise(tmp_path_factory: pytest.TempPathFactory, text: bytes) -> None:
    root = tree(tmp_path_factory.mktemp("proc"), "")
    (root / "10/limits").write_bytes(b"Max open files            " + text)
    try:
        limit = read_fd_limit(root, 10)
    except OSError:
        return
    assert limit is None or limit >= 0


def test_directory_is_listed_on_older_kernels(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    root = tree(tmp_path, LIMITS.format(soft=16), files=7)
    real = os.stat

    def without_size(path: str) -> os.stat_result:
        fields = list(real(path))
        fields[6] = 0
        return os.stat_result(fields)

    with monkeypatch.context() as patch:
        patch.setattr(os, "stat", without_size)
        found = read_fd_usage(root, 10)
    assert found == FdUsage(open=7, limit=16)


def test_opened_descriptors_are_counted() -> None:
    before = count_open_fds(PROC, os.getpid())
    with ExitStack() as stack:
        for _ in range(20):
            stack.callback(os.close, os.open(os.devnull, os.O_RDONLY))
        assert count_open_fds(PROC, os.getpid()) == before + 20


def test_changed_limit_is_read(child: subprocess.Popen[bytes]) -> None:
    import resource

    for limit in (64, 32):
        resource.prlimit(child.pid, resource.RLIMIT_NOFILE, (limit, 128))
        assert read_fd_usage(PROC, child.pid) == FdUsage(open=3, limit=limit)


def test_zombie_has_no_descriptors_and_reaped_one_raises(child: subprocess.Popen[bytes]) -> None:
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert count_open_fds(PROC, child.pid) == 0
    child.wait()
    with pytest.raises(FileNotFoundError):
        read_fd_usage(PROC, child.pid)
