"""The parts of the benchmark that reckon; that it measures is proved by `make bench BENCH_ARGS=--quick`."""

from __future__ import annotations

import json
import sys
from collections import Counter

import pytest

from .benchmarks import __main__ as program
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
"""At 150,000 sockets; in proportion at others."""


def size_of(sockets: int, names: frozenset[str] = frozenset(SECONDS), memory: bool = False) -> Size:
    results = {
        name: Result.of([Measurement(seconds * sockets / 150_000, seconds, 70 * MEBIBYTE)] * 7)
        for name, seconds in SECONDS.items()
        if name in names
    }
    after_ten = 80 * MEBIBYTE
    kept = MemoryOverTime(after_ten, 200, after_ten, after_ten * 11 // 10, after_ten * 2) if memory else None
    return Size(sockets, Counter(established=sockets), sockets // 2, 9.0, results, kept)


def benchmark_of(*sizes: Size, absent: dict[str, str] | None = None) -> Benchmark:
    return Benchmark(sizes, SmallHost(0.7, 0.009, 34 * MEBIBYTE, 35 * MEBIBYTE), absent or {})


FULL = benchmark_of(size_of(1_000), size_of(150_000, memory=True))


def by_name(benchmark: Benchmark) -> dict[str, Target]:
    return {target.what.partition(",")[0]: target for target in targets(benchmark)}


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
def test_the_exponent_is_the_power_that_time_grows_with(power: float) -> None:
    sockets = [1_000, 10_000, 150_000]
    assert exponent(sockets, [3e-6 * number**power for number in sockets]) == pytest.approx(power)


def test_one_size_says_nothing_of_growth() -> None:
    assert exponent([500, 500], [1.0, 2.0]) is None


def test_the_median_of_the_rounds_counts() -> None:
    result = Result.of([Measurement(1, 5, None), Measurement(9, 4, 20), Measurement(2, 3, 30)])
    assert result == Result(2, 4, 25, (1, 9, 2))


def test_memory_that_nobody_knows_stays_unknown() -> None:
    assert Result.of([Measurement(1, 1, None)]).resident_bytes is None


def test_each_turn_somebody_else_comes_first() -> None:
    readers = [(name, lambda: Measurement(0, 0, None)) for name in "abc"]
    assert ["".join(name for name, _ in rotated(readers, turn)) for turn in range(4)] == [
        "abc",
        "bca",
        "cab",
        "abc",
    ]


def test_the_load_holds_72_000_descriptors_at_150_000_sockets() -> None:
    wanted = LoadShape.of(150_000)
    assert (wanted.time_wait, wanted.close_wait) == (75_000, 3_000)
    assert wanted.established + wanted.close_wait == 72_000
    assert wanted.workers == 5


def test_states_are_counted_by_their_label() -> None:
    numbers = [0] * 16
    numbers[1], numbers[6] = 3, 4
    assert label_counts(numbers) == {"established": 3, "time_wait": 4}


def test_a_state_that_was_there_at_times_counts_with_its_median() -> None:
    all_counts = [Counter(time_wait=4, last_ack=1), Counter(time_wait=6), Counter(time_wait=5)]
    assert median_counts(all_counts) == {"time_wait": 5, "last_ack": 0}


def test_targets_are_judged() -> None:
    found = by_name(FULL)
    assert found["warm scrape / node_exporter"].figure == pytest.approx(0.5)
    assert found["psutil / warm scrape"].figure == pytest.approx(8)
    assert {target.what: target.verdict for target in targets(FULL) if not target.is_met} == {
        "growth of memory over 200 more scrapes": "NOT MET",
        "start to first answer, with 500 sockets": "NOT MET",
    }


def test_with_fewer_sockets_there_is_a_figure_and_no_judgement() -> None:
    target = by_name(benchmark_of(size_of(500), size_of(5_000)))["warm scrape / node_exporter"]
    assert target.figure == pytest.approx(0.5)
    assert (target.verdict, target.is_met) == ("not judged", None)


def test_who_is_absent_is_not_measured() -> None:
    without = size_of(150_000, frozenset(SECONDS) - {TCPSTAT})
    target = by_name(benchmark_of(without))["warm scrape / node_exporter"]
    assert (target.figure, target.verdict) == (None, "not measured")


def test_the_table_has_every_size_contender_and_target() -> None:
    text = table(FULL)
    for wanted in ("1,000 sockets", "150,000 sockets", *SECONDS, *(target.what for target in targets(FULL))):
        assert wanted in text
    assert "NOT MET" in text


def test_the_table_says_why_somebody_is_absent() -> None:
    assert "ss -tan: absent, ss is missing" in table(
        benchmark_of(size_of(1_000), absent={SS: "ss is missing"})
    )


def test_columns_stand_below_each_other() -> None:
    assert align_columns(iter([("a", "1"), ("long", "100")])) == ["a       1", "long  100"]


def test_the_report_is_json_with_every_figure() -> None:
    read = json.loads(json.dumps(report(FULL)))
    assert read["sizes"][1]["results"][WARM]["times_baseline"] == pytest.approx(2)
    assert read["sizes"][1]["memory"]["growth"] == pytest.approx(0.1)
    assert read["small_host"]["idle_bytes"] == 35 * MEBIBYTE
    assert len(read["targets"]) == len(targets(FULL))
    assert read["exponents"][WARM] == pytest.approx(1)


def test_labels_of_lines_that_end_together_do_not_overlap() -> None:
    assert space_labels([0.5, 0.1, 0.51], 0.1) == pytest.approx([0.5, 0.1, 0.6])


def test_every_contender_that_is_measured_has_a_row() -> None:
    assert set(SECONDS) <= set(NAMES)


def test_matplotlib_is_imported_only_to_draw() -> None:
    assert program.main
    assert "matplotlib" not in sys.modules
