"""The soak test: rounds of churn and rest, in which every scrape is compared with `ss`."""

from __future__ import annotations

import subprocess
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from ..oracle import STATES
from . import judge
from .judge import OwnerCounts, Sample
from .scraped import Scrape, Scraped
from .workers import MAX_CHURN, SHARE, VISITORS, Workers

PERIOD: Final = 30.0
"""Seconds of a round. A socket stays in TIME_WAIT for 60 s, two rounds, so that those of one churn phase
expire in a later churn phase. A timer of 60 s may be late by an eighth (kernel/time/timer.c); the rest is
quiet."""
CHURN: Final = 9.0
QUIET: Final = 26.0
"""By then, owners not found during the churn have been resolved again (after 15 s)."""

WARM_UP: Final = 65.0
"""Seconds until the number of sockets in TIME_WAIT is stable; half of a shorter test."""

_ATTEMPTS: Final = 25
_KNOWN: Final = 0.98
"""Minimum fraction of sockets with a known owner at rest. No owner may be wrong; owners not found during the
churn wait for a complete fd scan, which is less frequent on a slow machine."""


@dataclass
class Soak:
    """Results of the soak test."""

    seconds: float
    scrapes: int = 0
    churned: int = 0
    exact: int = 0
    most_sockets: int = 0
    owners: list[OwnerCounts] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    ended: int = 0
    killed: int = 0
    log: list[str] = field(default_factory=list)
    """Warnings in the exporter's log."""

    @property
    def measured(self) -> list[Sample]:
        """Return the samples after the warm-up."""
        begin = min(WARM_UP, self.seconds / 2)
        return [sample for sample in self.samples if sample.at >= begin]

    def run(self, workers: Workers, exporter: Scraped) -> None:
        """Run rounds until the time is over, at least one."""
        started = time.monotonic()
        for number in range(max(1, round(self.seconds / PERIOD))):
            begin = started + number * PERIOD
            self._churn(workers, exporter, begin + CHURN)
            self._rest(exporter, begin + QUIET)
            self._compare(workers, exporter)
            if self.problems:
                break  # later scrapes would repeat the same problems
            time.sleep(max(0.0, begin + PERIOD - time.monotonic()))
        self.problems += judge.leaks(self.measured)
        self.ended, self.killed = workers.ended, workers.killed

    def _churn(self, workers: Workers, exporter: Scraped, end: float) -> None:
        workers.change()
        while time.monotonic() < end:
            for order in (f"replace {SHARE}", f"fork_children {VISITORS}", f"replace {SHARE}"):
                before = count()
                workers.order(order)
                scrape = self._scrape(exporter)
                workers.answers()
                self._note(
                    judge.compare_counts(scrape.totals, before, count(), MAX_CHURN), "within the churn"
                )
                self.churned += 1
            time.sleep(0.3)

    def _rest(self, exporter: Scraped, end: float) -> None:
        """Compare without churn, while sockets leave TIME_WAIT."""
        while time.monotonic() < end:
            before = count()
            scrape = self._scrape(exporter)
            self._note(judge.compare_counts(scrape.totals, before, count()), "at rest")
            time.sleep(max(0.0, min(1.0, end - time.monotonic())))

    def _compare(self, workers: Workers, exporter: Scraped) -> None:
        held = workers.held()
        for _ in range(_ATTEMPTS):
            before = count()
            scrape = self._scrape(exporter)
            if before == count():
                break
        else:
            self.problems.append(f"never quiet: {before} and then {count()}")
            return
        self.most_sockets = max(self.most_sockets, before.total())
        self._note(judge.compare_counts(scrape.totals, before, before), "when it was quiet")
        self.exact += 1
        output = scrape.by_process()
        owners = judge.compare_owners(output, held)
        self.owners.append(owners)
        if owners.wrong or owners.correct < _KNOWN * owners.total:
            self.problems.append(
                f"owners: {judge.wrong_owners(output, held)}; unknown: {output.get('unknown')}"
            )

    def _scrape(self, exporter: Scraped) -> Scrape:
        scrape = exporter.scrape()
        self.scrapes += 1
        self.samples.append(exporter.sample())
        self._note([f"{part} failed" for part in scrape.failing], f"scrape {self.scrapes}")
        self._note(judge.check_sums(scrape.series, scrape.totals), f"scrape {self.scrapes}")
        return scrape

    def _note(self, problems: list[str], when: str) -> None:
        self.problems += [f"{when}: {problem}" for problem in problems]


def count() -> Counter[str]:
    """Return the number of sockets by state, as listed by `ss`."""
    listed = subprocess.run(["ss", "-Htan"], check=True, capture_output=True, text=True).stdout
    return Counter(STATES[line.split(maxsplit=1)[0]] for line in listed.splitlines())
