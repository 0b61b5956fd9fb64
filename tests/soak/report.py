"""The report at the end of the soak test."""

from __future__ import annotations

from . import judge
from .soak import Soak
from .workers import MAX_CHURN, WORKERS

_MEBIBYTE = 1 << 20


def report(soak: Soak) -> str:
    """Return a short text about comparisons and problems."""
    correct, total = (sum(getattr(each, name) for each in soak.owners) for name in ("correct", "total"))
    wrong = sum(each.wrong for each in soak.owners)
    measured = soak.measured
    lines = [
        f"{soak.seconds / 60:.3g} min, {soak.most_sockets:,} sockets at most, {WORKERS} processes at a time",
        f"  scrapes        {soak.scrapes}; the series of each add up to its totals by state",
        f"  within churn   {soak.churned} compared with ss: within the {MAX_CHURN} sockets then replaced",
        f"  when quiet     {soak.exact} compared with ss: equal in every state",
        f"  owners         {correct:,} of {total:,} sockets correct, {wrong} wrong",
        f"  processes      {soak.ended} ended, {soak.killed} of them killed",
    ]
    if measured:
        first, last = (sample.resident / _MEBIBYTE for sample in (measured[0], measured[-1]))
        grown = f"{judge.growth(measured) / _MEBIBYTE:+.2f} of {judge.MAX_GROWTH / _MEBIBYTE:.0f} allowed"
        descriptors = [sample.descriptors for sample in measured]
        lines.append(
            f"  memory         {first:.1f} MiB, then {last:.1f}; by the line of least squares {grown}"
        )
        lines.append(f"  descriptors    {min(descriptors)} to {max(descriptors)}")
    lines += [f"  WRONG: {problem}" for problem in (*soak.problems, *soak.log)]
    return "\n".join(lines)
