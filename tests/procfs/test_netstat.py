"""The kernel's counters are found by their names, whatever columns a kernel has."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from exporter.model.host import KernelCounters
from exporter.procfs.netstat import memory_unit_bytes, parse_netstat, parse_sockstat, read_counters

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")

NETSTAT = """\
TcpExt: SyncookiesSent TW TWRecycled TWKilled ListenOverflows ListenDrops TCPAbortOnData TCPAbortOnClose \
TCPAbortOnMemory TCPAbortOnTimeout TCPAbortOnLinger TCPAbortFailed TCPBacklogDrop TCPTimeWaitOverflow \
TCPReqQFullDrop
TcpExt: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15
IpExt: InNoRoutes TW
IpExt: 16 17
MPTcpExt: MPCapableSYNRX TWKilled
MPTcpExt: 18 19
"""
LINUX_3_10 = """\
TcpExt: TW TWRecycled TWKilled PAWSPassive ListenOverflows ListenDrops TCPAbortOnData TCPAbortOnClose
TcpExt: 101 0 0 0 3 4 5 6
IpExt: InNoRoutes InTruncatedPkts
IpExt: 0 0
"""
SOCKSTAT = """\
sockets: used 15
TCP: inuse 21 orphan 22 tw 23 alloc 24 mem 25
UDP: inuse 2 mem 1
FRAG: inuse 0 memory 0
"""
SNMP = """\
Ip: Forwarding DefaultTTL
Ip: 1 64
Tcp: RtoAlgorithm RtoMin RtoMax MaxConn ActiveOpens PassiveOpens AttemptFails EstabResets CurrEstab InSegs \
OutSegs RetransSegs InErrs OutRsts InCsumErrors
Tcp: 1 200 120000 -1 31 32 33 34 35 36 37 38 39 40 41
"""
FILES = {"netstat": NETSTAT, "snmp": SNMP, "sockstat": SOCKSTAT}
REAL = [*FILES.values(), LINUX_3_10]
ALL = KernelCounters(
    time_wait_started=2,
    time_wait_reused=3,
    time_wait_overflows=14,
    listen_overflows=5,
    listen_drops=6,
    syn_queue_drops=15,
    backlog_drops=13,
    connect_failures=33,
    established_resets=34,
    retransmitted_segments=38,
    resets_sent=40,
    aborts={"close": 8, "data": 7, "timeout": 10, "linger": 11, "memory": 9, "failed": 12},
    time_wait=23,
    orphans=22,
    memory_bytes=25 * 4096,
)
FIELDS = {
    "netstat": {
        "time_wait_started",
        "time_wait_reused",
        "time_wait_overflows",
        "listen_overflows",
        "listen_drops",
        "syn_queue_drops",
        "backlog_drops",
        "aborts",
    },
    "snmp": {"connect_failures", "established_resets", "retransmitted_segments", "resets_sent"},
    "sockstat": {"time_wait", "orphans", "memory_bytes"},
}


def tree(root: Path, files: Mapping[str, str]) -> Path:
    """A /proc in which a thread finds these files of its network namespace."""
    directory = root / "thread-self/net"
    directory.mkdir(parents=True)
    for name, text in files.items():
        (directory / name).write_text(text)
    return root


def unlike_all(counters: KernelCounters) -> set[str]:
    names = {name for names in FIELDS.values() for name in names}
    return {name for name in names if getattr(counters, name) != getattr(ALL, name)}


@on_linux
class TestRead:
    pytestmark = pytest.mark.skipif(
        sys.platform == "linux" and os.sysconf("SC_PAGE_SIZE") != 4096, reason="counts in pages of 4 KiB"
    )

    def test_each_value_comes_from_its_column(self, tmp_path: Path) -> None:
        assert read_counters(tree(tmp_path, FILES)) == ALL

    @pytest.mark.parametrize("name", FILES)
    def test_absent_file_does_not_affect_the_others(self, tmp_path: Path, name: str) -> None:
        files = {key: text for key, text in FILES.items() if key != name}
        counters = read_counters(tree(tmp_path, files))
        assert unlike_all(counters) == FIELDS[name]
        assert not counters.errors

    @pytest.mark.parametrize("garbage", ["garbage\n", "TcpExt: TW\n", "TCP: inuse\n", "TCP: a b\nTCP: 1 x\n"])
    @pytest.mark.parametrize("name", FILES)
    def test_malformed_file_is_reported_and_affects_no_other(
        self, tmp_path: Path, name: str, garbage: str
    ) -> None:
        counters = read_counters(tree(tmp_path, FILES | {name: garbage}))
        assert unlike_all(counters) == FIELDS[name]
        (problem,) = counters.errors
        assert f"/net/{name}: " in problem

    @pytest.mark.parametrize(
        "odd",
        [
            "MPTcpExt: MPCapableSYNRX TWKilled\n",
            "MPTcpExt: MPCapableSYNRX TWKilled\nMPTcpExt: 1\n",
            "MPTcpExt: MPCapableSYNRX TWKilled\nMPTcpExt: 1 x\n",
            "MPTcpExt: MPCapableSYNRX TWKilled\nMPTcpExt:\n",
            "MPTcpExt\n",
        ],
    )
    @pytest.mark.parametrize("first", [True, False])
    def test_odd_lines_of_netstat_cost_their_own_figures(self, tmp_path: Path, odd: str, first: bool) -> None:
        rest = "".join(line for line in NETSTAT.splitlines(keepends=True) if not line.startswith("MPTcpExt"))
        text = odd + rest if first else rest + odd
        counters = read_counters(tree(tmp_path, FILES | {"netstat": text}))
        assert unlike_all(counters) == set()
        (problem,) = counters.errors
        assert "/net/netstat: " in problem
        assert "MPTcpExt" in problem

    @pytest.mark.parametrize("odd", ["UDP: inuse\n", "UDP: inuse x\n", "UDP\n", "\n"])
    def test_odd_line_of_sockstat_costs_its_own_figures(self, tmp_path: Path, odd: str) -> None:
        counters = read_counters(tree(tmp_path, FILES | {"sockstat": odd + SOCKSTAT}))
        assert unlike_all(counters) == set()
        (problem,) = counters.errors
        assert "/net/sockstat: " in problem

    def test_columns_missing_on_older_kernels_are_none(self, tmp_path: Path) -> None:
        counters = read_counters(tree(tmp_path, {"netstat": LINUX_3_10}))
        assert counters == KernelCounters(
            time_wait_started=101,
            time_wait_reused=0,
            listen_overflows=3,
            listen_drops=4,
            aborts={"data": 5, "close": 6},
        )

    def test_empty_file_is_not_an_error(self, tmp_path: Path) -> None:
        assert read_counters(tree(tmp_path, dict.fromkeys(FILES, ""))) == KernelCounters()

    def test_raises_if_no_file_is_readable(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError, match="thread-self/net/netstat"):
            read_counters(tmp_path)


@on_linux
def test_counters_of_this_host_are_plausible() -> None:
    counters = read_counters(Path("/proc"))
    assert not counters.errors
    assert counters.listen_drops is not None
    assert counters.listen_overflows is not None
    assert counters.listen_drops >= counters.listen_overflows
    assert counters.aborts.keys() >= {"close", "data", "timeout", "linger", "memory", "failed"}
    assert counters.syn_queue_drops is not None
    assert counters.backlog_drops is not None
    assert counters.orphans is not None


@pytest.mark.parametrize("platform", ["win32", "darwin", "freebsd14"])
def test_no_counters_on_other_systems(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, platform: str) -> None:
    root = tree(tmp_path, FILES)
    with monkeypatch.context() as patch:
        patch.setattr(sys, "platform", platform)
        assert read_counters(root) == KernelCounters()


def test_equal_names_with_different_prefixes_are_told_apart() -> None:
    tables, problems = parse_netstat(NETSTAT)
    assert (tables["TcpExt"]["TW"], tables["IpExt"]["TW"]) == (2, 17)
    assert (tables["TcpExt"]["TWKilled"], tables["MPTcpExt"]["TWKilled"]) == (4, 19)
    assert not problems


def test_line_pairs_of_one_prefix_are_merged() -> None:
    assert parse_netstat("A: x\nA: 1\nA: y\nA: 2\n") == ({"A": {"x": 1, "y": 2}}, [])


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("A: x\n", 1),
        ("A: x\nB: 1\n", 2),
        ("A: x y\nA: 1\n", 1),
        ("A: x\nA: 1 2\n", 1),
        ("A: x\nA: 1y\n", 2),
        ("A x\nA 1\n", 2),
        ("\n", 1),
    ],
)
def test_mismatched_lines_are_reported(text: str, count: int) -> None:
    tables, problems = parse_netstat(text + "C: z\nC: 3\n")
    assert tables == {"C": {"z": 3}}
    assert len(problems) == count


def test_header_without_values_does_not_take_the_next_header() -> None:
    tables, problems = parse_netstat("A: x\nA: y\nA: 1\n")
    assert tables == {"A": {"y": 1}}
    assert len(problems) == 1


@pytest.mark.parametrize(
    "text", ["TCP inuse 1\n", "TCP: inuse\n", "TCP: inuse 1 tw\n", "TCP: inuse x\n", "\n"]
)
def test_values_without_names_are_reported(text: str) -> None:
    tables, problems = parse_sockstat(text + "UDP: inuse 2\n")
    assert tables == {"UDP": {"inuse": 2}}
    assert len(problems) == 1


def test_a_line_may_have_no_values() -> None:
    assert parse_sockstat("TCP:\n") == ({"TCP": {}}, [])


@pytest.mark.parametrize(
    ("page_size", "release", "unit"),
    [
        (4096, "6.18.44", 4096),
        (4096, "5.14.0-503.el9.x86_64", 4096),
        (65536, "6.0", 65536),
        (65536, "6.12.0-55.el10.aarch64+64k", 65536),
        (65536, "10.0.1", 65536),
        (65536, "5.19.17", None),
        (65536, "4.18.0-553.el8.aarch64", None),
        (16384, "unheard-of", None),
    ],
)
def test_memory_unit_by_page_size_and_release(page_size: int, release: str, unit: int | None) -> None:
    assert memory_unit_bytes(page_size, release) == unit


WORDS = st.sampled_from(["A:", "B:", ":", "x", "1", "-1", "1_0", "x:1", "\n", "\nA:", "\r", "\x1c"])
CUT = st.builds(
    lambda text, start, end: text[start:-end], st.sampled_from(REAL), st.integers(0, 99), st.integers(1, 99)
)


@given(st.text() | CUT | st.builds(" ".join, st.lists(WORDS)))
@example("A: x\nA: " + "9" * 5000)
def test_any_text_is_parsed(text: str) -> None:
    for parser in (parse_netstat, parse_sockstat):
        tables, problems = parser(text)
        assert all(isinstance(value, int) for table in tables.values() for value in table.values())
        assert all(isinstance(problem, str) for problem in problems)
