"""The report at the end of the soak test."""

from __future__ import annotations

from . import judge
from .judge import MAX_LATE_SCRAPES
from .scenarios import Scenarios
from .soak import MAX_CHANGES, Results
from .workers import WORKERS, Workers

_MEBIBYTE = 1 << 20


def report(results: Results, workers: Workers, scenarios: Scenarios, seconds: float) -> str:
    """Return a short text about comparisons and problems."""
    correct, total = (sum(getattr(each, name) for each in results.owners) for name in ("correct", "total"))
    wrong = sum(is_wrong for _, _, is_wrong in results.mismatches)
    measured = results.measured(seconds)
    lines = [
        f"{seconds / 60:.3g} min, {results.most_sockets:,} sockets at most, {WORKERS} processes at a time",
        f"  scrapes        {results.scrapes}; the series of each add up to its totals by state",
        f"  within churn   {results.churned} compared with ss: within the {MAX_CHANGES} that change",
        f"  when quiet     {results.exact} compared with ss: equal in every state",
        f"  owners         {correct:,} of {total:,} sockets correct; {wrong} numbers are wrong",
        f"  handed over    {scenarios.handed_over} sockets, to others after {MAX_LATE_SCRAPES} scrapes",
        f"  dead           {scenarios.died} descriptors, whose connections were reset or ended by keepalive",
        f"  short-lived    {scenarios.short_lived} clients of the service to which a pool is connected",
        f"  processes      {workers.ended} ended, {workers.killed} of them killed",
    ]
    if measured:
        first, last = (sample.resident / _MEBIBYTE for sample in (measured[0], measured[-1]))
        grown = f"{judge.growth(measured) / _MEBIBYTE:+.2f} of {judge.MAX_GROWTH / _MEBIBYTE:.0f} allowed"
        descriptors = [sample.descriptors for sample in measured]
        lines.append(
            f"  memory         {first:.1f} MiB, then {last:.1f}; by the line of least squares {grown}"
        )
        lines.append(f"  descriptors    {min(descriptors)} to {max(descriptors)}")
    lines += [f"  WRONG: {problem}" for problem in results.all_problems]
    return "\n".join(lines)
