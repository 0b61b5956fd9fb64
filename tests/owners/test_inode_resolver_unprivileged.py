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
        not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs root, to drop its privileges"
    ),
]

PROC = Path("/proc")


class Resolution(NamedTuple):
    """The owners of a socket of root and of one of this process, as resolved with its privileges."""

    owner_of_root_socket: Owner
    owner_of_own_socket: Owner
    unreadable: Counter[str]
    unresolved_reason: str
    pids: int


def resolve(inode_of_root: int) -> Resolution:
    """Search for the socket with that inode, and for one of this process."""
    owners = InodeOwnerResolver(FdScanner(PROC), ProcessCache(ProcfsProcessReader(PROC), details=True))
    with socket.socket() as mine:
        own = os.fstat(mine.fileno()).st_ino
        owners.resolve({inode_of_root, own}, LiveSockets({inode_of_root, own}))
        owners.refresh()
        return Resolution(
            owners.owner_of(inode_of_root),
            owners.owner_of(own),
            owners.unreadable_processes,
            owners.unresolved_reason,
            len(list_pids(PROC)),
        )


def _as_unprivileged_user(inode_of_root: int, close: int) -> tuple[Resolution, int]:
    os.close(close)
    drop_privileges()
    return resolve(inode_of_root), os.getpid()


def _as_unprivileged_user_with_hidden_processes(inode_of_root: int, close: int) -> tuple[Resolution, int]:
    mount_proc("hidepid=2")
    return _as_unprivileged_user(inode_of_root, close)


def _as_root_with_processes_only(inode_of_root: int, close: int) -> tuple[Resolution, int]:
    os.close(close)
    mount_proc("subset=pid")
    assert not (PROC / "stat").exists()
    return resolve(inode_of_root), os.getpid()


def test_processes_of_other_users_are_unreadable() -> None:
    with socket.socket() as held:
        resolution, pid = in_child(_as_unprivileged_user, os.fstat(held.fileno()).st_ino, held.fileno())
    assert resolution.owner_of_root_socket is Unowned.NOT_FOUND
    assert isinstance(resolution.owner_of_own_socket, ProcessId)
    assert resolution.owner_of_own_socket.pid == pid
    assert resolution.unresolved_reason == "unreadable"
    assert 1 <= resolution.unreadable["permission"] < resolution.pids


def test_hidden_processes_of_other_users_are_detected() -> None:
    with socket.socket() as held:
        try:
            resolution, pid = in_child(
                _as_unprivileged_user_with_hidden_processes, os.fstat(held.fileno()).st_ino, held.fileno()
            )
        except CannotMountError as failure:
            pytest.skip(f"/proc cannot be mounted again here: {failure}")
    assert resolution.owner_of_root_socket is Unowned.NOT_FOUND
    assert isinstance(resolution.owner_of_own_socket, ProcessId)
    assert resolution.owner_of_own_socket.pid == pid
    assert resolution.unresolved_reason == "hidden"
    assert resolution.pids < len(list_pids(PROC))


def test_proc_mounted_with_subset_pid_is_enough() -> None:
    with socket.socket() as held:
        try:
            resolution, pid = in_child(
                _as_root_with_processes_only, os.fstat(held.fileno()).st_ino, held.fileno()
            )
        except CannotMountError as failure:
            pytest.skip(f"/proc cannot be mounted again here: {failure}")
    assert isinstance(resolution.owner_of_root_socket, ProcessId)
    assert resolution.owner_of_root_socket.pid == os.getpid()
    assert isinstance(resolution.owner_of_own_socket, ProcessId)
    assert resolution.owner_of_own_socket.pid == pid
