"""Limits are what the system says, and unknown where it says nothing: never a guess."""

from __future__ import annotations

import gc
import os
import sys
import weakref
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from exporter.model.host import EphemeralRange, SysctlLimits
from exporter.procfs.sysctl import (
    parse_memory,
    parse_number,
    parse_port_list,
    parse_port_range,
    read_sysctls,
)

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")

PROC = Path("/proc")
SYSCTLS = {
    "tcp_max_tw_buckets": "131072\n",
    "tcp_tw_reuse": "2\n",
    "ip_local_port_range": "32768\t60999\n",
    "ip_local_reserved_ports": "8080,40000-40009,60999-61005\n",
    "tcp_max_orphans": "65536\n",
    "tcp_mem": "287898\t383867\t575796\n",
}


def tree(root: Path, sysctls: Mapping[str, str]) -> Path:
    """A /proc with these files below sys/net/ipv4."""
    directory = root / "sys/net/ipv4"
    directory.mkdir(parents=True)
    for name, text in sysctls.items():
        (directory / name).write_text(text)
    return root


@on_linux
def test_absent_files_keep_no_reference_to_their_reader(tmp_path: Path) -> None:
    """An exception that is kept keeps its traceback, and with it all that its callers have in hand."""

    class InHand:
        pass

    def ask() -> weakref.ref[InHand]:
        in_hand = InHand()
        read_sysctls(tree(tmp_path, {"tcp_max_tw_buckets": "131072\n"}))
        return weakref.ref(in_hand)

    gc.disable()
    try:
        assert ask()() is None
    finally:
        gc.enable()


@on_linux
class TestSysctls:
    def test_each_value_comes_from_its_file(self, tmp_path: Path) -> None:
        page = os.sysconf("SC_PAGE_SIZE")
        assert read_sysctls(tree(tmp_path, SYSCTLS)) == SysctlLimits(
            max_time_wait_sockets=131072,
            time_wait_seconds=60.0,
            time_wait_reuse=2,
            ephemeral=EphemeralRange(32768, 60999, frozenset([*range(40000, 40010), 60999])),
            max_orphans=65536,
            max_memory_bytes=575796 * page,
        )

    @pytest.mark.parametrize("name", SYSCTLS)
    def test_absent_file_does_not_affect_the_others(self, tmp_path: Path, name: str) -> None:
        full = read_sysctls(tree(tmp_path / "full", SYSCTLS))
        sysctls = {key: text for key, text in SYSCTLS.items() if key != name}
        assert_differs_by(read_sysctls(tree(tmp_path / "part", sysctls)), full, name, problems=0)

    @pytest.mark.parametrize("garbage", [b"garbage\n", b"-1\n", b"1 2 3 4\n", b"\xff", b"\0"])
    @pytest.mark.parametrize("name", SYSCTLS)
    def test_malformed_file_is_reported_and_affects_no_other(
        self, tmp_path: Path, name: str, garbage: bytes
    ) -> None:
        full = read_sysctls(tree(tmp_path / "full", SYSCTLS))
        root = tree(tmp_path / "part", SYSCTLS)
        (root / "sys/net/ipv4" / name).write_bytes(garbage)
        limits = read_sysctls(root)
        assert_differs_by(limits, full, name, problems=1)

    def test_unreadable_file_is_reported(self, tmp_path: Path) -> None:
        root = tree(tmp_path, {name: text for name, text in SYSCTLS.items() if name != "tcp_mem"})
        (root / "sys/net/ipv4/tcp_mem").mkdir()
        limits = read_sysctls(root)
        assert (limits.max_memory_bytes, limits.max_orphans) == (None, 65536)
        (problem,) = limits.errors
        assert "tcp_mem" in problem

    def test_raises_if_no_file_is_readable(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError, match="sys/net/ipv4"):
            read_sysctls(tmp_path)

    def test_malformed_files_are_reported_without_raising(self, tmp_path: Path) -> None:
        limits = read_sysctls(tree(tmp_path, dict.fromkeys(SYSCTLS, "garbage")))
        assert len(limits.errors) == len(SYSCTLS)

    def test_no_reserved_ports_if_the_file_is_empty_or_absent(self, tmp_path: Path) -> None:
        root = tree(tmp_path, SYSCTLS | {"ip_local_reserved_ports": "\n"})
        assert read_sysctls(root).ephemeral == EphemeralRange(32768, 60999)
        (root / "sys/net/ipv4/ip_local_reserved_ports").unlink()
        assert read_sysctls(root).ephemeral == EphemeralRange(32768, 60999)

    def test_limits_of_this_host_are_plausible(self) -> None:
        limits = read_sysctls(PROC)
        assert not limits.errors
        assert limits.max_time_wait_sockets is not None
        assert limits.ephemeral is not None
        assert 0 < limits.ephemeral.size <= 65535


FIELDS = {
    "tcp_max_tw_buckets": {"max_time_wait_sockets"},
    "tcp_tw_reuse": {"time_wait_reuse"},
    "ip_local_port_range": {"ephemeral"},
    "ip_local_reserved_ports": {"ephemeral"},
    "tcp_max_orphans": {"max_orphans"},
    "tcp_mem": {"max_memory_bytes"},
}


def assert_differs_by(limits: SysctlLimits, full: SysctlLimits, name: str, problems: int) -> None:
    different = {
        field
        for field in SysctlLimits.__dataclass_fields__
        if field != "errors" and getattr(limits, field) != getattr(full, field)
    }
    assert different == FIELDS[name]
    assert len(limits.errors) == problems
    assert all(f"sys/net/ipv4/{name}: " in problem for problem in limits.errors)


class TestEphemeralRange:
    def test_size_excludes_reserved_ports(self) -> None:
        assert EphemeralRange(40000, 40009).size == 10
        assert EphemeralRange(40000, 40009, frozenset([40003, 40004])).size == 8

    @pytest.mark.parametrize(
        ("port", "contained"), [(39999, False), (40000, True), (40003, False), (40009, True), (40010, False)]
    )
    def test_contains_excludes_reserved_ports(self, port: int, contained: bool) -> None:
        assert EphemeralRange(40000, 40009, frozenset([40003])).contains(port) is contained


NUMBERS = st.lists(st.integers(-1, 70000) | st.sampled_from(["1_0", "٣", "²", "x", "-", "1-2"]), max_size=4)
TEXTS = st.text() | st.builds(lambda sep, words: sep.join(map(str, words)), st.sampled_from(",\t- "), NUMBERS)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("\n", []),
        ("0\n", [range(1)]),
        ("8080,9148-9150\n", [range(8080, 8081), range(9148, 9151)]),
        ("65535", [range(65535, 65536)]),
    ],
)
def test_port_list_is_parsed(text: str, expected: list[range]) -> None:
    assert parse_port_list(text) == expected


@pytest.mark.parametrize("text", [",", "1,", "65536", "5-4", "1-2-3", "1 2", "-5", "1\n,2", "٣"])
def test_malformed_port_list_raises(text: str) -> None:
    with pytest.raises(ValueError, match=r"port"):
        parse_port_list(text)


@on_linux
@given(TEXTS)
@example("9" * 5000)
@example("²")
def test_any_text_is_parsed_or_raises_value_error(text: str) -> None:
    for parser in (parse_number, parse_memory, parse_port_range, parse_port_list):
        try:
            parsed = parser(text)
        except ValueError:
            continue
        if isinstance(parsed, range):
            assert parsed
            assert 0 <= parsed.start < parsed.stop <= 65536
