"""The rule of the firewall, as netsh gets it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from exporter.windows.firewall import allow_inbound, remove_rule


def test_rule_admits_the_ports_of_the_program_and_replaces_earlier_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SYSTEMROOT", r"D:\Windows")
    commands: list[Sequence[str]] = []

    def run(command: Sequence[str]) -> int:
        commands.append(command)
        return 0

    allow_inbound("exporter", r"C:\x y\python.exe", {10067, 10066}, run)
    netsh = [r"D:\Windows\System32\netsh.exe", "advfirewall", "firewall"]
    assert commands == [
        [*netsh, "delete", "rule", "name=exporter"],
        [
            *netsh,
            "add",
            "rule",
            "name=exporter",
            "dir=in",
            "action=allow",
            "protocol=TCP",
            "localport=10066,10067",
            r"program=C:\x y\python.exe",
        ],
    ]


def test_failure_to_make_the_rule_is_an_error() -> None:
    with pytest.raises(OSError, match="exit status 1"):
        allow_inbound("exporter", "python.exe", {1}, lambda _: 1)


def test_rule_that_does_not_exist_is_no_error() -> None:
    remove_rule("exporter", lambda _: 1)
