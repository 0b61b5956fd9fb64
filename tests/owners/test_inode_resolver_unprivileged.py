"""Processes of other users that are unreadable, or hidden."""

from __future__ import annotations

import os
import socket
import sys
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pytest

from exporter.model.process import Owner, ProcessId, Unowned
from exporter.owners.fd_scanner import FdScanner
from exporter.owners.inode_resolver import InodeOwnerResolver
from exporter.owners.process_cache import ProcessCache
from exporter.procfs.process_reader import ProcfsProcessReader, list_pids

from ..children import CannotMountError, drop_privileges, in_child, mount_proc
from .hosts import LiveSockets

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="needs Linux"),
    pytest.mark.skipif(
        not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs root, to give up its rights"
    ),
]

PROC = Path("/proc")


class Seen(NamedTuple):
    """What a user sees of a socket that root holds, and of one that it holds itself as well."""

    roots: Owner
    own: Owner
    unreadable: Counter[str]
    because: str
    pids: int


def look(roots: int) -> Seen:
    """Search for the socket with that inode, and for one of this process."""
    owners = InodeOwnerResolver(FdScanner(PROC), ProcessCache(ProcfsProcessReader(PROC), details=True))
    with socket.socket() as mine:
        own = os.fstat(mine.fileno()).st_ino
        owners.resolve({roots, own}, LiveSockets({roots, own}))
        owners.refresh()
        return Seen(
            owners.owner_of(roots),
            owners.owner_of(own),
            owners.unreadable,
            owners.unresolved_reason,
            len(list_pids(PROC)),
        )


def _as_nobody(roots: int, close: int) -> tuple[Seen, int]:
    os.close(close)
    drop_privileges()
    return look(roots), os.getpid()


def _as_nobody_with_hidden_processes(roots: int, close: int) -> tuple[Seen, int]:
    mount_proc("hidepid=2")
    return _as_nobody(roots, close)


def _as_root_with_processes_only(roots: int, close: int) -> tuple[Seen, int]:
    os.close(close)
    mount_proc("subset=pid")
    assert not (PROC / "stat").exists()
    return look(roots), os.getpid()


def test_processes_of_other_users_are_unreadable() -> None:
    with socket.socket() as held:
        seen, pid = in_child(_as_nobody, os.fstat(held.fileno()).st_ino, held.fileno())
    assert seen.roots is Unowned.NOT_FOUND
    assert isinstance(seen.own, ProcessId)
    assert seen.own.pid == pid
    assert seen.because == "unreadable"
    assert 1 <= seen.unreadable["permission"] < seen.pids


def test_hidden_processes_of_other_users_are_detected() -> None:
    with socket.socket() as held:
        try:
            seen, pid = in_child(
                _as_nobody_with_hidden_processes, os.fstat(held.fileno()).st_ino, held.fileno()
            )
        except CannotMountError as failure:
            pytest.skip(f"/proc cannot be mounted again here: {failure}")
    assert seen.roots is Unowned.NOT_FOUND
    assert isinstance(seen.own, ProcessId)
    assert seen.own.pid == pid
    assert seen.because == "hidden"
    assert seen.pids < len(list_pids(PROC))


def test_proc_mounted_with_subset_pid_is_enough() -> None:
    with socket.socket() as held:
        try:
            seen, pid = in_child(_as_root_with_processes_only, os.fstat(held.fileno()).st_ino, held.fileno())
        except CannotMountError as failure:
            pytest.skip(f"/proc cannot be mounted again here: {failure}")
    assert isinstance(seen.roots, ProcessId)
    assert seen.roots.pid == os.getpid()
    assert isinstance(seen.own, ProcessId)
    assert seen.own.pid == pid
