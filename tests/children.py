"""Runs a function in a child process, for changes that cannot be undone: a sandbox, another user."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import platform
import socket
import struct
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Final, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

_UNPRIVILEGED_ID: Final = 65534

_CLONE_NEWNS: Final = 0x20000
_MS_REC: Final = 0x4000
_MS_PRIVATE: Final = 0x40000
_PR_SET_DUMPABLE: Final = 4
_PR_SET_NO_NEW_PRIVS: Final = 38
_PR_SET_SECCOMP: Final = 22
_SECCOMP_MODE_FILTER: Final = 2

_SOCKET_SYSCALL: Final = {"x86_64": 41, "aarch64": 198}.get(platform.machine())
"""The system call's number (asm/unistd.h)."""

can_block_sockets = _SOCKET_SYSCALL is not None


class CannotMountError(Exception):
    """This sandbox does not permit mount()."""


def in_child(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Return, or raise, what the function does in a forked child; it has to be picklable."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("fork")) as pool:
        return pool.submit(function, *args, **kwargs).result(timeout=30)


def drop_privileges() -> None:
    """Drop all privileges of this process, as `setpriv --reuid=65534 --clear-groups PROGRAM` does."""
    os.setgroups([])
    os.setresgid(_UNPRIVILEGED_ID, _UNPRIVILEGED_ID, _UNPRIVILEGED_ID)
    os.setresuid(_UNPRIVILEGED_ID, _UNPRIVILEGED_ID, _UNPRIVILEGED_ID)
    # As exec would do: otherwise even this process's /proc/self/fd belongs to root (prctl(2)).
    _prctl(_PR_SET_DUMPABLE, 1)


def mount_proc(options: str) -> None:
    """Mount /proc again with these options, for this process only."""
    libc = ctypes.CDLL(None, use_errno=True)
    for status in (
        libc.unshare(_CLONE_NEWNS),
        libc.mount(None, b"/", None, ctypes.c_ulong(_MS_REC | _MS_PRIVATE), None),
        libc.mount(b"proc", b"/proc", b"proc", ctypes.c_ulong(0), options.encode()),
    ):
        if status != 0:
            raise CannotMountError(os.strerror(ctypes.get_errno()))


def block_sockets(family: int, error: int) -> None:
    """Let socket() fail with this error for this family in this process (seccomp), as under systemd's
    RestrictAddressFamilies or in a strict container. Struct sock_filter: linux/filter.h."""
    load, equal, finish = 0x20, 0x15, 0x06
    allowed, refused = 0x7FFF0000, 0x00050000 | error
    code = [
        (load, 0, 0, 0),  # struct seccomp_data: nr, ...
        (equal, 0, 3, _SOCKET_SYSCALL),
        (load, 0, 0, 16),  # ... the lower half of args[0]
        (equal, 0, 1, family),
        (finish, 0, 0, refused),
        (finish, 0, 0, allowed),
    ]
    filters = b"".join(struct.pack("=HBBI", *instruction) for instruction in code)
    buffer = ctypes.create_string_buffer(filters)
    program = struct.pack("@HP", len(code), ctypes.addressof(buffer))
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    _prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.c_char_p(program))


def _prctl(option: int, *arguments: object) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    padded = [*arguments, *[ctypes.c_ulong(0)] * (4 - len(arguments))]
    if libc.prctl(option, *padded) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


def blocked_errno(family: int) -> int | None:
    """Return the error number with which socket() fails for this family, or None."""
    try:
        socket.socket(family, socket.SOCK_RAW).close()
    except OSError as failure:
        return failure.errno
    return None
