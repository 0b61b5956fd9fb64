"""TCP parameters in the registry of Windows."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from types import ModuleType, TracebackType
from typing import Self

import pytest

from exporter.windows.registry import TcpParameters, read_registry


class Registry(ModuleType):
    """Stand-in for winreg with the values of one key."""

    HKEY_LOCAL_MACHINE = 1

    def __init__(self, values: Mapping[str, object]) -> None:
        super().__init__("winreg")
        self._values = values

    def OpenKey(self, root: int, path: str) -> Self:  # noqa: N802  # winreg's name
        assert root == self.HKEY_LOCAL_MACHINE
        assert path == r"SYSTEM\CurrentControlSet\Services\Tcpip\Parameters"
        return self

    def QueryValueEx(self, key: object, name: str) -> tuple[object, int]:  # noqa: N802  # winreg's name
        assert key is self
        if name not in self._values:
            raise FileNotFoundError(2, "The system cannot find the file specified")
        return self._values[name], 4

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, TcpParameters(None, None)),
        ({"TcpTimedWaitDelay": 30}, TcpParameters(30, None)),
        ({"TcpTimedWaitDelay": 0}, TcpParameters(0, None)),
        ({"MaxUserPort": 65534}, TcpParameters(None, 65534)),
        ({"TcpTimedWaitDelay": 120, "MaxUserPort": 5000}, TcpParameters(120, 5000)),
    ],
)
def test_values_set_in_the_registry_are_read(
    monkeypatch: pytest.MonkeyPatch, values: Mapping[str, object], expected: TcpParameters
) -> None:
    monkeypatch.setitem(sys.modules, "winreg", Registry(values))
    assert read_registry() == expected


@pytest.mark.parametrize("value", [-1, 301, 70000, "30", b"\x1e\0\0\0", None])
def test_impossible_registry_values_are_reported(monkeypatch: pytest.MonkeyPatch, value: object) -> None:
    monkeypatch.setitem(sys.modules, "winreg", Registry({"TcpTimedWaitDelay": value, "MaxUserPort": 5000}))
    parameters = read_registry()
    assert parameters.time_wait_seconds is None
    assert parameters.max_user_port == 5000
    (problem,) = parameters.problems
    assert "TcpTimedWaitDelay" in problem
