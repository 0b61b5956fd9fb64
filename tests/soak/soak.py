"""The soak test: rounds of churn and rest. Each scrape is compared with `ss` and with what processes hold."""

from __future__ import annotations

import subprocess
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from ..oracle import Row, rows
from ..running import until
from . import judge
from .held import DEAD, UNKNOWN
from .judge import MAX_LATE_SCRAPES, MAX_UNSEEN_SECONDS, Held, Mismatch, OwnerCounts, Sample
from .scenarios import CLIENTS, SERVER, SHORT_LIVED, Scenarios
from .scraped import Scrape, Scraped
from .workers import MAX_CHURN, SHARE, VISITORS, Workers

PERIOD: Final = 30.0
"""Seconds of a round. A socket stays in TIME_WAIT for 60 s, two rounds, so that those of one churn phase
expire in a later churn phase. A timer of 60 s may be late by an eighth (kernel/time/timer.c); the rest is
quiet."""
CHURN: Final = 9.0
QUIET: Final = 26.0
"""By then, owners not found during the churn have been resolved again (after 15 s)."""
LATE: Final = 60.0
"""Additional seconds after which they must have been. They wait for a complete fd scan, which is the less
frequent the longer it takes on a busy machine."""

WARM_UP: Final = 65.0
"""Seconds until the number of sockets in TIME_WAIT is stable; half of a shorter test."""

MAX_CHANGES: Final = MAX_CHURN + 2 * CLIENTS
"""Maximum number of sockets that change their state during a scrape within the churn."""

_ATTEMPTS: Final = 25
_KNOWN: Final = 0.98
"""Minimum fraction of the workers' sockets with a known owner at rest. No owner may be wrong."""

_MANY_SOCKETS: Final = 10_000
"""Number of sockets above which the exporter reads the never connected ones once a minute. Without them it
does not know which descriptors are dead that no scrape saw with a connection."""

_CLOSING_STATES: Final = frozenset({"fin_wait1", "last_ack", "closing"})

_MAX_LOSS_SCRAPES: Final = 15
"""Maximum number of scrapes until a leaked connection is in no table. FIN_WAIT2 lasts 1 s, and a probe is
sent each second."""
_SCRAPE_INTERVAL: Final = 1.0


@dataclass
class Results:
    """Results of the soak test."""

    scrapes: int = 0
    churned: int = 0
    exact: int = 0
    most_sockets: int = 0
    owners: list[OwnerCounts] = field(default_factory=list)
    mismatches: dict[tuple[str, str, bool], tuple[str, int]] = field(default_factory=dict)
    """(process, state, wrong) -> the first mismatch, and the number of scrapes with one."""
    samples: list[Sample] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    """Warnings in the exporter's log."""

    @property
    def all_problems(self) -> list[str]:
        """Return all problems, those of owners once with the number of scrapes."""
        owners = [f"{first}, in {scrapes} scrapes" for first, scrapes in self.mismatches.values()]
        return [*owners, *self.problems, *self.log]

    def add_mismatch(self, mismatch: Mismatch, scrape: str) -> None:
        key = mismatch.process, mismatch.state, mismatch.is_wrong
        first, scrapes = self.mismatches.get(key, (f"{scrape}: {mismatch}", 0))
        self.mismatches[key] = first, scrapes + 1

    def measured(self, seconds: float) -> list[Sample]:
        """Return the samples after the warm-up of a test that lasts this long."""
        begin = min(WARM_UP, seconds / 2)
        return [sample for sample in self.samples if sample.at >= begin]


class _Look(NamedTuple):
    """The sockets before or after a scrape."""

    counts: Counter[str]
    """State -> sockets, as listed by `ss`."""
    held: Held


class Soak:
    """Runs the rounds."""

    def __init__(self, workers: Workers, scenarios: Scenarios, exporter: Scraped) -> None:
        self.results = Results()
        self._workers = workers
        self._scenarios = scenarios
        self._exporter = exporter
        self._history = judge.History(time.monotonic())
        self._many_sockets_until = 0.0

    def run(self, seconds: float) -> Results:
        """Run rounds until the time is over, at least one."""
        started = time.monotonic()
        for number in range(max(1, round(seconds / PERIOD))):
            # A late round is followed by a whole one, so that sockets leave TIME_WAIT when there is churn.
            time.sleep((started - time.monotonic()) % PERIOD if number else 0.0)
            begin = time.monotonic()
            self._churn(number, begin + CHURN)
            self._rest(begin + QUIET)
            self._compare(begin + QUIET + LATE)
            if self.results.all_problems:
                break  # later scrapes would repeat the same problems
            self._scenarios.finish()
        self.results.problems += judge.leaks(self.results.measured(seconds))
        return self.results

    def _churn(self, number: int, end: float) -> None:
        self._workers.change()
        self._scenarios.begin(number)
        has_forked = False
        while not has_forked or time.monotonic() < end:
            for order in (f"replace {SHARE}", f"fork_children {VISITORS}", f"replace {SHARE}"):
                self._scrape("within the churn", order)
                self.results.churned += 1
            if not has_forked:
                self._scenarios.fork()
                self._scenarios.lose_unseen()
                has_forked = True
            time.sleep(0.3)

    def _rest(self, end: float) -> None:
        """Compare without churn, while sockets leave TIME_WAIT and connections are lost."""
        self._scenarios.send()
        self._scenarios.lose_peers()
        wait_for_acks()
        for _ in range(_MAX_LOSS_SCRAPES):
            self._watch(1)
            if self._scenarios.is_lost():
                break
        else:
            self.results.problems.append("connections under keepalive were not lost")
        self._watch(MAX_LATE_SCRAPES + 1)
        self._scenarios.clean_up()
        wait_for_acks()
        self._watch(MAX_LATE_SCRAPES + 1)
        while time.monotonic() < end:
            self._watch(1)

    def _watch(self, scrapes: int) -> None:
        """Compare scrapes, one each second."""
        for _ in range(scrapes):
            next_scrape = time.monotonic() + _SCRAPE_INTERVAL
            self._scrape("at rest")
            time.sleep(max(0.0, next_scrape - time.monotonic()))

    def _compare(self, end: float) -> None:
        """Compare a scrape during which nothing changes. Wait until `end` for owners that are unknown."""
        while True:
            scrape, held = self._scrape_quiet()
            output = scrape.by_process()
            owners = judge.compare_owners(output, held)
            if owners.correct >= _KNOWN * owners.total or time.monotonic() > end:
                break
            self._watch(1)
        self.results.most_sockets = max(self.results.most_sockets, sum(scrape.totals.values()))
        self.results.exact += 1
        self.results.owners.append(owners)
        if owners.correct < _KNOWN * owners.total:
            unknown = output.get("unknown")
            self.results.problems.append(f"owners: {judge.wrong_owners(output, held)}; unknown: {unknown}")

    def _scrape_quiet(self) -> tuple[Scrape, Held]:
        """Return a scrape during which no socket changed, and what the workers held."""
        for _ in range(_ATTEMPTS):
            scrape, before, after = self._scrape("when it was quiet")
            if before.counts == after.counts:
                break
        else:
            self.results.problems.append(f"never quiet: {before.counts} and then {after.counts}")
        return scrape, {name: judge.only_open(before.held[name]) for name in self._workers.names}

    def _scrape(self, when: str, churn: str | None = None) -> tuple[Scrape, _Look, _Look]:
        """Scrape, and compare the result with the sockets before and after it.

        churn: command of the workers during the scrape, and short-lived clients call.
        """
        before = self._look("held", has_workers=churn is None)
        if churn:
            self._workers.order(churn)
            self._scenarios.begin_clients()
        scrape = self._exporter.scrape()
        if churn:
            self._scenarios.finish_clients()
            self._workers.answers()
        after = self._look("observe", has_workers=churn is None)
        results = self.results
        results.scrapes += 1
        results.samples.append(self._exporter.sample())
        problems = [
            *(f"{part} failed" for part in scrape.failing),
            *judge.check_sums(scrape.series, scrape.totals),
            *judge.check_open_fds(scrape.dead_fds, scrape.open_fds),
            *judge.compare_counts(scrape.totals, before.counts, after.counts, MAX_CHANGES if churn else 0),
        ]
        results.problems += [f"scrape {results.scrapes}, {when}: {problem}" for problem in problems]
        self._history.add(before.held, after.held, time.monotonic())
        if sum(scrape.totals.values()) > _MANY_SOCKETS:
            self._many_sockets_until = time.monotonic() + MAX_UNSEEN_SECONDS
        ignored = {UNKNOWN} if time.monotonic() < self._many_sockets_until else set[str]()
        # A listener has connections of short-lived clients that it has not accepted.
        changing = {*self._workers.names, SERVER, SHORT_LIVED} if churn else set[str]()
        output, resolvable = scrape.by_process(), self._scenarios.names
        for mismatch in judge.compare_held(output, self._history, resolvable, ignored):
            if mismatch.state in DEAD or mismatch.process not in changing:
                results.add_mismatch(mismatch, f"scrape {results.scrapes}, {when}")
        return scrape, before, after

    def _look(self, command: str, *, has_workers: bool) -> _Look:
        """Read what exists now. command: as for Scenarios.held()."""
        listed = list_sockets()
        held = [
            self._scenarios.held(command),
            self._exporter.held(),
            self._workers.held() if has_workers else {},
            judge.former_owners(listed, self._workers.closers),
            judge.former_owners(listed, self._scenarios.closers),
        ]
        return _Look(Counter(row.state for row in listed), judge.add_held(*held))


def wait_for_acks() -> None:
    """Wait until no connection is just being closed: its next state may be a short one.

    The peer may delay the ACK of a FIN for 40 ms and more. Within one scrape the number of sockets in a state
    must not rise and fall again, or else it is not between the counts before and after the scrape.
    """
    for _ in until("all FINs are acknowledged"):
        if not any(row.state in _CLOSING_STATES for row in list_sockets()):
            return


def list_sockets() -> list[Row]:
    """Return all sockets, as listed by `ss`."""
    return rows(subprocess.run(["ss", "-Htan"], check=True, capture_output=True, text=True).stdout)
