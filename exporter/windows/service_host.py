"""This process as a Windows service: the dispatcher, and the answers to the service manager.

The service manager ends a service that does not answer within 30 s. When the system starts, with a cold disk
and a busy virus scanner, imports alone can take longer. This module imports little, so that the first answer
comes before the other imports.

https://learn.microsoft.com/windows/win32/services/service-servicemain-function
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from ctypes import wintypes
from typing import Any, ClassVar, Final

from .api import ERROR_CALL_NOT_IMPLEMENTED, ERROR_SERVICE_SPECIFIC, library, windows_error

STOP_WAIT_SECONDS: Final = 20
"""Time in which the service manager expects the service to stop: the server completes responses in progress,
for at most 15 seconds."""

# wintypes.DWORD has 64 bits on other systems, where tests run this.
_DWORD: Final = ctypes.c_uint32

_OWN_PROCESS: Final = 0x10
_STOPPED, _START_PENDING, _STOP_PENDING, _RUNNING = 1, 2, 3, 4
_ACCEPT_STOP, _ACCEPT_SHUTDOWN = 1, 4
_CONTROL_STOP, _CONTROL_INTERROGATE, _CONTROL_SHUTDOWN = 1, 4, 5
_START_WAIT_SECONDS: Final = 30


class _Status(ctypes.Structure):
    """SERVICE_STATUS (winsvc.h)."""

    _fields_: ClassVar = [
        ("type", _DWORD),
        ("state", _DWORD),
        ("accepted_controls", _DWORD),
        ("exit_code", _DWORD),
        ("specific_exit_code", _DWORD),
        ("checkpoint", _DWORD),
        ("wait_hint", _DWORD),
    ]


class ServiceHost:
    """Runs a function as a service.

    work: runs until `stop` is called, in a thread of its own; returns the exit status.
    stop: called in the main thread when the service is to stop. Must return immediately.
    report: passes a SERVICE_STATUS to the service manager; the function of Windows by default.
    """

    def __init__(
        self,
        name: str,
        work: Callable[[], int],
        stop: Callable[[], object],
        report: Callable[[_Status], object] | None = None,
    ) -> None:
        self._name = name
        self._work = work
        self._stop = stop
        self._report = report or self._set_service_status
        self._handle: Any = None
        self.exit_status = 1
        """Result of `work`, after run()."""

    def run(self) -> None:
        """Answer the service manager until the service has stopped.

        Raises OSError, with winerror 1063 if the service manager did not start this process.
        """
        types: Any = ctypes
        main_type = types.WINFUNCTYPE(None, _DWORD, ctypes.POINTER(wintypes.LPWSTR))
        handler_type = types.WINFUNCTYPE(_DWORD, _DWORD, _DWORD, ctypes.c_void_p, ctypes.c_void_p)
        # Kept in variables until the dispatcher returns: Windows calls them.
        handler = handler_type(lambda control, *_: self.handle_control(control))

        def service_main(_count: int, _arguments: Any) -> None:
            register = library("advapi32").RegisterServiceCtrlHandlerExW
            register.restype = wintypes.HANDLE
            register.argtypes = [wintypes.LPCWSTR, handler_type, ctypes.c_void_p]
            self._handle = register(self._name, handler, None)
            self.serve()

        class Entry(ctypes.Structure):
            """SERVICE_TABLE_ENTRYW (winsvc.h)."""

            _fields_: ClassVar = [("name", wintypes.LPWSTR), ("main", main_type)]

        main = main_type(service_main)
        table = (Entry * 2)(Entry(self._name, main), Entry(None, main_type()))
        if not library("advapi32").StartServiceCtrlDispatcherW(table):
            raise windows_error()

    def serve(self) -> None:
        """Report the states of the service while `work` runs."""
        self._set_state(_START_PENDING, wait_seconds=_START_WAIT_SECONDS)
        self._set_state(_RUNNING, _ACCEPT_STOP | _ACCEPT_SHUTDOWN)
        try:
            self.exit_status = self._work()
        finally:
            self._set_state(_STOPPED)

    def handle_control(self, control: int) -> int:
        """Handle a request of the service manager. Return an error code, 0 for success."""
        if control in (_CONTROL_STOP, _CONTROL_SHUTDOWN):
            self._set_state(_STOP_PENDING, wait_seconds=STOP_WAIT_SECONDS)
            self._stop()
            return 0
        return 0 if control == _CONTROL_INTERROGATE else ERROR_CALL_NOT_IMPLEMENTED

    def _set_state(self, state: int, accepted_controls: int = 0, wait_seconds: int = 0) -> None:
        # With an exit code the service manager takes the end for a failure, and restarts the service.
        has_failed = state == _STOPPED and self.exit_status != 0
        self._report(
            _Status(
                _OWN_PROCESS,
                state,
                accepted_controls,
                ERROR_SERVICE_SPECIFIC if has_failed else 0,
                self.exit_status if has_failed else 0,
                0,
                1000 * wait_seconds,
            )
        )

    def _set_service_status(self, status: _Status) -> None:
        set_status = library("advapi32").SetServiceStatus
        set_status.argtypes = [wintypes.HANDLE, ctypes.POINTER(_Status)]
        set_status(self._handle, ctypes.byref(status))
