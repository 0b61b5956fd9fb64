"""Calculations of the benchmark; `make bench BENCH_ARGS=--quick` tests the measurements."""

from __future__ import annotations

import json
import sys
from collections import Counter

import pytest

from .benchmarks import __main__ as program
from .benchmarks import windows_rows
from .benchmarks.benchmark import Benchmark
from .benchmarks.fit import exponent
from .benchmarks.label_layout import space_labels
from .benchmarks.load import LoadShape
from .benchmarks.measurement import Measurement, Result
from .benchmarks.memory import MemoryOverTime
from .benchmarks.readers import BASELINE, COLD, NAMES, PSUTIL, SS, TCPSTAT, WARM
from .benchmarks.report import report
from .benchmarks.rounds import Size, median_counts, rotated
from .benchmarks.small_host import SmallHost
from .benchmarks.state_counts import label_counts
from .benchmarks.table import align_columns, table
from .benchmarks.targets import MEBIBYTE, Target, targets

SECONDS = {BASELINE: 0.1, WARM: 0.2, COLD: 0.5, TCPSTAT: 0.4, PSUTIL: 1.6}
"""At 150,000 sockets; proportional to the number of sockets."""


def size_of(sockets: int, names: frozenset[str] = frozenset(SECONDS), memory: bool = False) -> Size:
    results = {
        name: Result.of([Measurement(seconds * sockets / 150_000, seconds, 70 * MEBIBYTE)] * 7)
        for name, seconds in SECONDS.items()
        if name in names
    }
    after_ten = 60 * MEBIBYTE
    memory_over_time = (
        MemoryOverTime(after_ten, 200, after_ten, after_ten * 11 // 10, after_ten * 2) if memory else None
    )
    return Size(sockets, Counter(established=sockets), sockets // 2, 9.0, results, memory_over_time)


def benchmark_of(*sizes: Size, absent: dict[str, str] | None = None) -> Benchmark:
    return Benchmark(sizes, SmallHost(0.7, 0.009, 34 * MEBIBYTE, 35 * MEBIBYTE), absent or {})


FULL = benchmark_of(size_of(1_000), size_of(150_000, memory=True))


def by_name(benchmark: Benchmark) -> dict[str, Target]:
    return {target.what.partition(",")[0]: target for target in targets(benchmark)}


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
def test_exponent_is_the_power_of_growth(power: float) -> None:
    sockets = [1_000, 10_000, 150_000]
    assert exponent(sockets, [3e-6 * number**power for number in sockets]) == pytest.approx(power)


def test_no_exponent_for_a_single_size() -> None:
    assert exponent([500, 500], [1.0, 2.0]) is None


def test_result_is_the_median_of_the_rounds() -> None:
    result = Result.of([Measurement(1, 5, None), Measurement(9, 4, 20), Measurement(2, 3, 30)])
    assert result == Result(2, 4, 25, (1, 9, 2))


def test_unmeasured_memory_is_unknown() -> None:
    assert Result.of([Measurement(1, 1, None)]).resident_bytes is None


def test_each_round_starts_with_another_reader() -> None:
    readers = [(name, lambda: Measurement(0, 0, None)) for name in "abc"]
    assert ["".join(name for name, _ in rotated(readers, turn)) for turn in range(4)] == [
        "abc",
        "bca",
        "cab",
        "abc",
    ]


def test_load_of_150_000_sockets_holds_72_000_descriptors() -> None:
    shape = LoadShape.of(150_000)
    assert (shape.time_wait, shape.close_wait) == (75_000, 3_000)
    assert shape.established + shape.close_wait == 72_000
    assert shape.workers == 5


def test_counts_by_state_label() -> None:
    numbers = [0] * 16
    numbers[1], numbers[6] = 3, 4
    assert label_counts(numbers) == {"established": 3, "time_wait": 4}


def test_median_count_of_a_transient_state() -> None:
    all_counts = [Counter(time_wait=4, last_ack=1), Counter(time_wait=6), Counter(time_wait=5)]
    assert median_counts(all_counts) == {"time_wait": 5, "last_ack": 0}


def test_target_is_met_or_not_met() -> None:
    judged = by_name(FULL)
    assert judged["warm scrape / node_exporter"].figure == pytest.approx(0.5)
    assert judged["psutil / warm scrape"].figure == pytest.approx(8)
    assert {target.what: target.verdict for target in targets(FULL) if not target.is_met} == {
        "growth of memory over 200 more scrapes": "NOT MET",
        "start to first answer, with 500 sockets": "NOT MET",
    }


def test_figures_are_not_judged_with_fewer_sockets() -> None:
    target = by_name(benchmark_of(size_of(500), size_of(5_000)))["warm scrape / node_exporter"]
    assert target.figure == pytest.approx(0.5)
    assert (target.verdict, target.is_met) == ("not judged", None)


def test_target_of_an_absent_reader_is_not_measured() -> None:
    without = size_of(150_000, frozenset(SECONDS) - {TCPSTAT})
    target = by_name(benchmark_of(without))["warm scrape / node_exporter"]
    assert (target.figure, target.verdict) == (None, "not measured")


def test_table_has_every_size_reader_and_target() -> None:
    text = table(FULL)
    for expected in (
        "1,000 sockets",
        "150,000 sockets",
        *SECONDS,
        *(target.what for target in targets(FULL)),
    ):
        assert expected in text
    assert "NOT MET" in text


def test_table_has_the_reason_for_an_absent_reader() -> None:
    assert "ss -tan: absent, ss is missing" in table(
        benchmark_of(size_of(1_000), absent={SS: "ss is missing"})
    )


def test_columns_are_aligned() -> None:
    assert align_columns(iter([("a", "1"), ("long", "100")])) == ["a       1", "long  100"]


def test_report_is_json_with_every_figure() -> None:
    parsed = json.loads(json.dumps(report(FULL)))
    assert parsed["sizes"][1]["results"][WARM]["times_baseline"] == pytest.approx(2)
    assert parsed["sizes"][1]["memory"]["growth"] == pytest.approx(0.1)
    assert parsed["small_host"]["idle_bytes"] == 35 * MEBIBYTE
    assert len(parsed["targets"]) == len(targets(FULL))
    assert parsed["exponents"][WARM] == pytest.approx(1)


def test_labels_of_close_lines_do_not_overlap() -> None:
    assert space_labels([0.5, 0.1, 0.51], 0.1) == pytest.approx([0.5, 0.1, 0.6])


def test_every_measured_reader_has_a_name() -> None:
    assert set(SECONDS) <= set(NAMES)


def test_matplotlib_is_imported_only_for_the_chart() -> None:
    assert program.main
    assert "matplotlib" not in sys.modules


def test_windows_table_has_the_same_sockets_by_all_ways() -> None:
    counts = []
    for read in windows_rows.source_readers(400):
        states: Counter[int] = Counter()
        for batch in read():
            states[batch.keyspace.state] += len(batch.keys)
        counts.append(states)
    assert counts[0] == counts[1] == counts[2]
    assert counts[0].total() == 400
