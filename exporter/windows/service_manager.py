"""The service manager of Windows: makes, changes, starts, stops and deletes a service.

https://learn.microsoft.com/windows/win32/services/service-control-manager
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import wintypes
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from .api import (
    ERROR_INSUFFICIENT_BUFFER,
    ERROR_INVALID_LEVEL,
    ERROR_SERVICE_ALREADY_RUNNING,
    ERROR_SERVICE_DOES_NOT_EXIST,
    ERROR_SERVICE_NOT_ACTIVE,
    last_error,
    library,
    windows_error,
)

DEFAULT_ACCOUNT: Final = r"NT AUTHORITY\LocalService"
"""An account of Windows with few rights, and without a password."""
RESTART_DELAY_SECONDS: Final = 60
FAILURE_RESET_SECONDS: Final = 86_400

_MANAGER_ALL_ACCESS: Final = 0xF003F
_SERVICE_ALL_ACCESS: Final = 0xF01FF
# wintypes.DWORD has 64 bits on other systems, where tests run this.
_DWORD: Final = ctypes.c_uint32

_OWN_PROCESS: Final = 0x10
_AUTO_START: Final = 2
_ERROR_NORMAL: Final = 1
_STOPPED: Final = 1
_CONTROL_STOP: Final = 1
_ACTION_RESTART: Final = 1
# Levels of ChangeServiceConfig2W.
_DESCRIPTION, _FAILURE_ACTIONS, _DELAYED_AUTO_START, _FAILURE_ACTIONS_FLAG = 1, 2, 3, 4


class _Status(ctypes.Structure):
    """SERVICE_STATUS (winsvc.h)."""

    _fields_: ClassVar = [
        (name, _DWORD)
        for name in (
            "type",
            "state",
            "controls",
            "exit_code",
            "specific_exit_code",
            "checkpoint",
            "wait_hint",
        )
    ]


class _Action(ctypes.Structure):
    """SC_ACTION (winsvc.h)."""

    _fields_: ClassVar = [("type", ctypes.c_int), ("delay_milliseconds", _DWORD)]


class _FailureActions(ctypes.Structure):
    """SERVICE_FAILURE_ACTIONSW (winsvc.h)."""

    _fields_: ClassVar = [
        ("reset_seconds", _DWORD),
        ("reboot_message", wintypes.LPWSTR),
        ("command", wintypes.LPWSTR),
        ("action_count", _DWORD),
        ("actions", ctypes.POINTER(_Action)),
    ]


class _Config(ctypes.Structure):
    """QUERY_SERVICE_CONFIGW (winsvc.h)."""

    _fields_: ClassVar = [
        ("type", _DWORD),
        ("start_type", _DWORD),
        ("error_control", _DWORD),
        ("command", wintypes.LPWSTR),
        ("load_order_group", wintypes.LPWSTR),
        ("tag", _DWORD),
        ("dependencies", wintypes.LPWSTR),
        ("account", wintypes.LPWSTR),
        ("display_name", wintypes.LPWSTR),
    ]


@dataclass(frozen=True)
class ServiceConfig:
    """Configuration of a service."""

    name: str
    description: str
    command: str
    """Command line, with the program in quotes: without them Windows tries C:\\Program.exe first."""
    account: str | None = None
    """None keeps that of an existing service; a new one gets DEFAULT_ACCOUNT."""


def install_service(config: ServiceConfig) -> list[str]:
    """Make the service, or change it if it exists. It starts automatically, and after a failure again.

    Return the settings that this system does not have. Raises OSError.
    """
    advapi32 = _advapi32()
    with _open_manager() as manager:
        try:
            opened = _open_service(manager, config.name)
        except OSError as error:
            if getattr(error, "winerror", 0) != ERROR_SERVICE_DOES_NOT_EXIST:
                raise
            opened = None
        if opened is None:
            opened = advapi32.CreateServiceW(
                manager,
                config.name,
                config.name,
                _SERVICE_ALL_ACCESS,
                _OWN_PROCESS,
                _AUTO_START,
                _ERROR_NORMAL,
                config.command,
                None,
                None,
                None,
                config.account or DEFAULT_ACCOUNT,
                None,
            )
            _raise_unless(opened)
            with _closing(opened):
                return _set_options(opened, config.description)
        with _closing(opened):
            changed = advapi32.ChangeServiceConfigW(
                opened,
                _OWN_PROCESS,
                _AUTO_START,
                _ERROR_NORMAL,
                config.command,
                None,
                None,
                None,
                config.account,
                None,
                config.name,
            )
            _raise_unless(changed)
            return _set_options(opened, config.description)


def remove_service(name: str, timeout_seconds: float = 30.0) -> None:
    """Stop the service, and delete it. Raises OSError, with winerror 1060 if there is none."""
    with _open_manager() as manager, _closing(_open_service(manager, name)) as service:
        _stop(service, timeout_seconds)
        _raise_unless(_advapi32().DeleteService(service))


def start_service(name: str) -> None:
    """Start the service, if it is not running. Raises OSError."""
    with _open_manager() as manager, _closing(_open_service(manager, name)) as service:
        if not _advapi32().StartServiceW(service, 0, None):
            error = last_error()
            if error != ERROR_SERVICE_ALREADY_RUNNING:
                raise windows_error(error)


def stop_service(name: str, timeout_seconds: float = 30.0) -> None:
    """Stop the service, and wait until it has stopped. Raises OSError, TimeoutError."""
    with _open_manager() as manager, _closing(_open_service(manager, name)) as service:
        _stop(service, timeout_seconds)


def read_service_command(name: str) -> str | None:
    """Return the command line of the service, None if there is none. Raises OSError."""
    query = _advapi32().QueryServiceConfigW
    needed = _DWORD()
    try:
        with _open_manager() as manager, _closing(_open_service(manager, name)) as service:
            query(service, None, 0, ctypes.byref(needed))
            error = last_error()
            if error != ERROR_INSUFFICIENT_BUFFER:
                raise windows_error(error)
            buffer = ctypes.create_string_buffer(needed.value)
            _raise_unless(query(service, buffer, needed, ctypes.byref(needed)))
    except OSError as error:
        if getattr(error, "winerror", 0) == ERROR_SERVICE_DOES_NOT_EXIST:
            return None
        raise
    return str(_Config.from_buffer(buffer).command)


def split_command(command: str) -> list[str]:
    """Return the arguments of a command line, split as the programs of Windows do. Raises OSError."""
    split = library("shell32").CommandLineToArgvW
    split.argtypes = [wintypes.LPCWSTR, ctypes.POINTER(ctypes.c_int)]
    split.restype = ctypes.POINTER(wintypes.LPWSTR)
    count = ctypes.c_int()
    arguments = split(command, ctypes.byref(count))
    if not arguments:
        raise windows_error()
    try:
        return [str(argument) for argument in arguments[: count.value]]
    finally:
        free = library("kernel32").LocalFree
        free.argtypes = [ctypes.c_void_p]
        free(arguments)


def _set_options(service: int, description: str) -> list[str]:
    """Set the description, the delayed start, and what happens after a failure.

    Return the settings that this system does not have.
    """
    restart = _Action(_ACTION_RESTART, 1000 * RESTART_DELAY_SECONDS)
    actions = (_Action * 3)(restart, restart, restart)
    settings = {
        "description": (_DESCRIPTION, wintypes.LPWSTR(description)),
        "delayed start": (_DELAYED_AUTO_START, ctypes.c_int(True)),
        "restart after a failure": (
            _FAILURE_ACTIONS,
            _FailureActions(FAILURE_RESET_SECONDS, None, None, len(actions), actions),
        ),
        # Such as that of a port that is in use.
        "restart after an exit status": (_FAILURE_ACTIONS_FLAG, ctypes.c_int(True)),
    }
    return [name for name, (level, value) in settings.items() if not _change(service, level, value)]


def _change(service: int, level: int, value: Any) -> bool:
    """Change a setting. Return whether this system has it. Raises OSError."""
    if _advapi32().ChangeServiceConfig2W(service, level, ctypes.byref(value)):
        return True
    error = last_error()
    if error == ERROR_INVALID_LEVEL:
        return False
    raise windows_error(error)


def _stop(service: int, timeout_seconds: float) -> None:
    status = _Status()
    if not _advapi32().ControlService(service, _CONTROL_STOP, ctypes.byref(status)):
        error = last_error()
        if error == ERROR_SERVICE_NOT_ACTIVE:
            return
        raise windows_error(error)
    deadline = time.monotonic() + timeout_seconds
    while status.state != _STOPPED:
        if time.monotonic() > deadline:
            raise TimeoutError(f"the service has not stopped within {timeout_seconds:g} s")
        time.sleep(0.1)
        _raise_unless(_advapi32().QueryServiceStatus(service, ctypes.byref(status)))


def _open_service(manager: int, name: str) -> int:
    service = _advapi32().OpenServiceW(manager, name, _SERVICE_ALL_ACCESS)
    _raise_unless(service)
    return int(service)


@contextmanager
def _open_manager() -> Iterator[int]:
    manager = _advapi32().OpenSCManagerW(None, None, _MANAGER_ALL_ACCESS)
    _raise_unless(manager)
    with _closing(manager):
        yield manager


@contextmanager
def _closing(handle: int) -> Iterator[int]:
    try:
        yield handle
    finally:
        _advapi32().CloseServiceHandle(handle)


def _raise_unless(result: Any) -> None:
    if not result:
        raise windows_error()


def _advapi32() -> Any:
    """Return advapi32.dll with the types of its functions: a handle has 64 bits, ctypes' default 32."""
    dll = library("advapi32")
    handle, text, dword = wintypes.HANDLE, wintypes.LPCWSTR, _DWORD
    pointer = ctypes.c_void_p
    config = [dword, dword, dword, text, text, pointer, text, text, text]
    for name, result, arguments in (
        ("OpenSCManagerW", handle, [text, text, dword]),
        ("OpenServiceW", handle, [handle, text, dword]),
        ("CreateServiceW", handle, [handle, text, text, dword, *config]),
        ("ChangeServiceConfigW", ctypes.c_int, [handle, *config, text]),
        ("ChangeServiceConfig2W", ctypes.c_int, [handle, dword, pointer]),
        ("QueryServiceConfigW", ctypes.c_int, [handle, pointer, dword, pointer]),
        ("QueryServiceStatus", ctypes.c_int, [handle, pointer]),
        ("StartServiceW", ctypes.c_int, [handle, dword, pointer]),
        ("ControlService", ctypes.c_int, [handle, dword, pointer]),
        ("DeleteService", ctypes.c_int, [handle]),
        ("CloseServiceHandle", ctypes.c_int, [handle]),
    ):
        function = getattr(dll, name)
        function.restype, function.argtypes = result, arguments
    return dll
