"""A service that leaks: `leaking_service.py COUNT`, run by Windows' Python as the service LeakyPrinting.

It sends a job to the printer (printer.py) COUNT times and never closes the connections.
"""

from __future__ import annotations

import socket
import sys
import time
from ctypes import POINTER, WINFUNCTYPE, Structure, WinDLL, byref, c_void_p
from ctypes.wintypes import DWORD, LPWSTR

NAME = "LeakyPrinting"
OWN_PROCESS, RUNNING = 0x10, 4

Main = WINFUNCTYPE(None, DWORD, POINTER(LPWSTR))
Handler = WINFUNCTYPE(DWORD, DWORD, DWORD, c_void_p, c_void_p)


class Status(Structure):
    """SERVICE_STATUS (winsvc.h)."""

    _fields_ = [(name, DWORD) for name in ("type", "state", "controls", "exit", "code", "check", "hint")]


class Entry(Structure):
    """SERVICE_TABLE_ENTRYW (winsvc.h)."""

    _fields_ = [("name", LPWSTR), ("main", Main)]


def leak(count: int) -> None:
    connections = [socket.create_connection(("127.0.0.1", 9100)) for _ in range(count)]
    for connection in connections:
        connection.sendall(b"page")
        while connection.recv(100):
            pass
    time.sleep(3600)


def main() -> None:
    advapi32 = WinDLL("advapi32")
    advapi32.RegisterServiceCtrlHandlerExW.restype = c_void_p
    advapi32.SetServiceStatus.argtypes = [c_void_p, POINTER(Status)]

    @Handler
    def ignore(_control: int, _type: int, _data: object, _context: object) -> int:
        return 0

    @Main
    def run(_count: int, _arguments: object) -> None:
        handle = advapi32.RegisterServiceCtrlHandlerExW(NAME, ignore, None)
        advapi32.SetServiceStatus(handle, byref(Status(OWN_PROCESS, RUNNING)))
        leak(int(sys.argv[1]))

    advapi32.StartServiceCtrlDispatcherW((Entry * 2)(Entry(NAME, run), Entry(None, Main(0))))


if __name__ == "__main__":
    main()
