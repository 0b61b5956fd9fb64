"""Connections in CLOSE_WAIT: causes, and histograms of ages."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.metrics.close_wait_metrics import age_histogram
from exporter.model.close_wait import Cause

from ..snapshots import BUSY, NGINX_CLOSE_WAIT, PRINTD_CLOSE_WAIT, close_wait_rows
from .families import collect, values

SECONDS = st.floats(0, 1e6)
UPPER_BOUNDS = (1, 10, 60, 300, 900, 3600, 14400)


def counts(ages: list[float]) -> list[float]:
    buckets, _ = age_histogram(ages)
    return [count for _, count in buckets]


class TestHistogram:
    def test_no_ages(self) -> None:
        assert age_histogram([])[1] == 0.0
        assert counts([]) == [0] * 8

    def test_bounds_as_prometheus_writes_them(self) -> None:
        bounds = [bound for bound, _ in age_histogram([])[0]]
        assert bounds == ["1.0", "10.0", "60.0", "300.0", "900.0", "3600.0", "14400.0", "+Inf"]

    def test_upper_bounds_are_inclusive(self) -> None:
        for position, bound in enumerate(UPPER_BOUNDS):
            at, above = counts([bound]), counts([math.nextafter(bound, math.inf)])
            assert at == [0] * position + [1] * (8 - position)
            assert above == [0] * (position + 1) + [1] * (7 - position)

    @given(st.lists(SECONDS))
    def test_counts_are_cumulative(self, ages: list[float]) -> None:
        cumulative = counts(ages)
        assert len(cumulative) == len(UPPER_BOUNDS) + 1
        assert all(fewer <= more for fewer, more in pairwise(cumulative))
        assert cumulative[-1] == len(ages)
        assert cumulative[:-1] == [sum(age <= bound for age in ages) for bound in UPPER_BOUNDS]
        assert age_histogram(ages)[1] == pytest.approx(sum(ages), abs=0.001)


def test_series_by_process_port_direction_and_cause() -> None:
    connections = [
        *close_wait_rows(PRINTD_CLOSE_WAIT, Cause.NOT_READ, 7.0, count=2),
        *close_wait_rows(NGINX_CLOSE_WAIT, Cause.NOT_CLOSED, 3.0),
    ]
    family = collect(replace(BUSY, close_wait=connections))["socket_close_wait_sockets"]
    assert [sample.labels for sample in family.samples] == [
        {"process": "printd", "port": "631", "direction": "inbound", "cause": "not_read"},
        {"process": "nginx", "port": "5432", "direction": "outbound", "cause": "not_closed"},
    ]
    assert [sample.value for sample in family.samples] == [2, 1]


def test_oldest_age_by_process() -> None:
    pile = [
        *close_wait_rows(PRINTD_CLOSE_WAIT, Cause.NOT_READ, 7.0),
        *close_wait_rows(PRINTD_CLOSE_WAIT, Cause.SENDING, 90.0),
        *close_wait_rows(NGINX_CLOSE_WAIT, Cause.NOT_CLOSED, 3.0),
    ]
    oldest = collect(replace(BUSY, close_wait=pile))["socket_close_wait_oldest_age_seconds"]
    assert values(oldest) == {("printd",): 90, ("nginx",): 3}


def test_ages_of_sending_are_a_part_of_all_ages() -> None:
    pile = [
        *close_wait_rows(PRINTD_CLOSE_WAIT, Cause.NOT_READ, 7.0, count=2),
        *close_wait_rows(PRINTD_CLOSE_WAIT, Cause.SENDING, 90.0, count=3),
        *close_wait_rows(NGINX_CLOSE_WAIT, Cause.NOT_CLOSED, 3.0),
    ]
    families = collect(replace(BUSY, close_wait=pile))
    counts_by_name = {
        name: {
            sample.labels["process"]: sample.value
            for sample in families[name].samples
            if sample.name == f"{name}_gcount"
        }
        for name in ("socket_close_wait_age_seconds", "socket_close_wait_sending_age_seconds")
    }
    assert counts_by_name == {
        "socket_close_wait_age_seconds": {"printd": 5, "nginx": 1},
        "socket_close_wait_sending_age_seconds": {"printd": 3},
    }
