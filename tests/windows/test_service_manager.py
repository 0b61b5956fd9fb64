"""Requests to the service manager, through a stand-in for its functions: Wine lacks some settings."""

from __future__ import annotations

import ctypes
from functools import partial
from typing import Any, ClassVar, Final

import pytest

from exporter.windows import service_manager
from exporter.windows.service_manager import (
    ServiceConfig,
    install_service,
    read_service_command,
    remove_service,
)

from .fake_dlls import DWORD, HANDLE, POINTER, FakeDlls, read_dword

TEXT: Final = ctypes.c_wchar_p
CONFIG: Final = ServiceConfig("name", "description", '"C:\\python.exe" x')
ACCESS_DENIED, INVALID_LEVEL, NOT_FOUND, NOT_ACTIVE = 5, 124, 1060, 1062
DESCRIPTION, FAILURE_ACTIONS, DELAYED_AUTO_START, FAILURE_ACTIONS_FLAG = 1, 2, 3, 4


# Handles that do not fit into 32 bits, which a pointer without a declared type would be cut to.
MANAGER, SERVICE = 1 << 40, 1 << 41
FUNCTIONS: Final = {
    "OpenSCManagerW": (HANDLE, TEXT, TEXT, DWORD),
    "OpenServiceW": (HANDLE, HANDLE, TEXT, DWORD),
    "CreateServiceW": (HANDLE, HANDLE, TEXT, TEXT, *[DWORD] * 4, TEXT, TEXT, POINTER, TEXT, TEXT, TEXT),
    "ChangeServiceConfigW": (DWORD, HANDLE, *[DWORD] * 3, TEXT, TEXT, POINTER, TEXT, TEXT, TEXT, TEXT),
    "ChangeServiceConfig2W": (DWORD, HANDLE, DWORD, POINTER),
    "QueryServiceConfigW": (DWORD, HANDLE, POINTER, DWORD, POINTER),
    "QueryServiceStatus": (DWORD, HANDLE, POINTER),
    "StartServiceW": (DWORD, HANDLE, DWORD, POINTER),
    "ControlService": (DWORD, HANDLE, DWORD, POINTER),
    "DeleteService": (DWORD, HANDLE),
    "CloseServiceHandle": (DWORD, HANDLE),
}


class Actions(ctypes.Structure):
    _fields_: ClassVar = [
        ("reset_seconds", DWORD),
        ("message", TEXT),
        ("command", TEXT),
        ("count", DWORD),
        ("actions", ctypes.POINTER(DWORD * 2)),
    ]


class Manager:
    """The service manager: records calls, and fails those of `errors`.

    exists: whether there is a service. errors: name of a function, or level of a setting -> error code.
    """

    def __init__(self, dlls: FakeDlls, *, exists: bool, errors: dict[str | int, int] | None = None) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.settings: dict[int, Any] = {}
        self._dlls = dlls
        self._errors = {**({} if exists else {"OpenServiceW": NOT_FOUND}), **(errors or {})}
        for name, (result, *arguments) in FUNCTIONS.items():
            dlls.define("advapi32", name, result, *arguments)(partial(self._call, name))

    def _call(self, name: str, *arguments: Any) -> int:
        self.calls.append((name, *arguments))
        level = 0
        if name == "ChangeServiceConfig2W":
            level = arguments[1]
            self.settings[level] = self._read_setting(level, arguments[2])
        self._dlls.last_error = self._errors.get(name, 0) or self._errors.get(level, 0)
        if self._dlls.last_error:
            return 0
        return {"OpenSCManagerW": MANAGER, "OpenServiceW": SERVICE, "CreateServiceW": SERVICE}.get(name, 1)

    def _read_setting(self, level: int, address: int) -> Any:
        if level == DESCRIPTION:
            return TEXT.from_address(address).value
        if level == FAILURE_ACTIONS:
            actions = Actions.from_address(address)
            return actions.reset_seconds, [tuple(actions.actions[index]) for index in range(actions.count)]
        return read_dword(address)

    def arguments_of(self, name: str) -> tuple[Any, ...]:
        (call,) = (call for call in self.calls if call[0] == name)
        return call[1:]

    def names(self) -> list[str]:
        return [call[0] for call in self.calls]


@pytest.fixture(autouse=True)
def _windows_errors(monkeypatch: pytest.MonkeyPatch, dlls: FakeDlls) -> None:
    """Errors have a winerror, which OSError has on Windows only."""

    def windows_error(code: int | None = None) -> OSError:
        error = OSError("refused")
        error.winerror = dlls.last_error if code is None else code  # type: ignore[attr-defined]  # see above
        return error

    monkeypatch.setattr(service_manager, "windows_error", windows_error)


def test_new_service_starts_automatically_as_local_service(dlls: FakeDlls) -> None:
    manager = Manager(dlls, exists=False)
    assert install_service(CONFIG) == []
    created = manager.arguments_of("CreateServiceW")
    assert created[0] == MANAGER
    assert created[1:3] == ("name", "name")
    assert created[4:8] == (0x10, 2, 1, '"C:\\python.exe" x')  # own process, automatic, normal errors
    assert created[11] == "NT AUTHORITY\\LocalService"
    assert manager.arguments_of("OpenSCManagerW")[:2] == (None, None)


def test_service_starts_late_and_again_a_minute_after_each_failure(dlls: FakeDlls) -> None:
    manager = Manager(dlls, exists=False)
    install_service(CONFIG)
    assert manager.settings == {
        DESCRIPTION: "description",
        DELAYED_AUTO_START: 1,
        FAILURE_ACTIONS: (86_400, [(1, 60_000)] * 3),
        FAILURE_ACTIONS_FLAG: 1,
    }


def test_existing_service_is_changed_and_keeps_its_account(dlls: FakeDlls) -> None:
    manager = Manager(dlls, exists=True)
    install_service(CONFIG)
    changed = manager.arguments_of("ChangeServiceConfigW")
    assert (changed[0], changed[4]) == (SERVICE, '"C:\\python.exe" x')
    assert changed[8] is None
    assert "CreateServiceW" not in manager.names()


def test_settings_that_the_system_lacks_are_returned(dlls: FakeDlls) -> None:
    Manager(dlls, exists=False, errors={DELAYED_AUTO_START: INVALID_LEVEL})
    assert install_service(CONFIG) == ["delayed start"]


@pytest.mark.parametrize(
    ("refused", "opened"), [("OpenSCManagerW", 0), ("CreateServiceW", 1), (DESCRIPTION, 2)]
)
def test_refusal_is_an_error_and_all_handles_are_closed(
    dlls: FakeDlls, refused: str | int, opened: int
) -> None:
    manager = Manager(dlls, exists=False, errors={refused: ACCESS_DENIED})
    with pytest.raises(OSError, match="refused") as error:
        install_service(CONFIG)
    assert error.value.winerror == ACCESS_DENIED  # type: ignore[attr-defined]  # Windows has it
    assert manager.names().count("CloseServiceHandle") == opened


def test_service_that_does_not_run_is_deleted(dlls: FakeDlls) -> None:
    manager = Manager(dlls, exists=True, errors={"ControlService": NOT_ACTIVE})
    remove_service("name")
    assert manager.arguments_of("DeleteService") == (SERVICE,)


def test_service_that_does_not_stop_in_time_is_not_deleted(dlls: FakeDlls) -> None:
    manager = Manager(dlls, exists=True)
    with pytest.raises(TimeoutError, match="not stopped within 0 s"):
        remove_service("name", timeout_seconds=0)
    assert "DeleteService" not in manager.names()


def test_missing_service_has_no_command(dlls: FakeDlls) -> None:
    Manager(dlls, exists=False)
    assert read_service_command("name") is None
