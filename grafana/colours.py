"""Colours: each means the same on every board. Red is trouble, orange may become trouble, green is well."""

from __future__ import annotations

from typing import Any, Final, assert_never

from exporter.model.close_wait import Cause

from . import rules

WELL: Final = "green"
WARNING: Final = "orange"
CRITICAL: Final = "red"
PLAIN: Final = "text"
"""Of figures that are neither good nor bad."""

QUIET: Final = "transparent"
"""Of cells in a table about which nothing is to be said."""

NOBODY: Final = "#808080"
"""What nobody knows or holds."""

STATES: Final = {
    # Yellow: it begins.
    "syn_sent": "semi-dark-yellow",
    "syn_recv": "light-yellow",
    "established": "super-light-blue",
    # Blue: this side has closed.
    "fin_wait1": "#B0C4DE",
    "fin_wait2": "light-blue",
    "time_wait": "semi-dark-blue",
    # Purple: the other side has closed.
    "close_wait": "semi-dark-purple",
    "last_ack": "light-purple",
    "closing": "super-light-purple",
    # Grey: no connection.
    "listen": "#A0A0A0",
    "close": "#606060",
}


def _cause_colour(cause: Cause) -> str:
    match cause:
        case Cause.NOT_ACCEPTED:
            return "semi-dark-yellow"
        case Cause.NOT_READ:
            return "purple"
        case Cause.NOT_CLOSED:
            return "dark-purple"
        case Cause.SENDING:
            return "super-light-blue"
        case Cause.UNKNOWN:
            return NOBODY
        case _:
            assert_never(cause)


CAUSES: Final = {cause.value: _cause_colour(cause) for cause in Cause}

CLOSE_WAIT: Final = STATES["close_wait"]
TIME_WAIT: Final = STATES["time_wait"]
OTHERS: Final = "blue"
"""The hue whose shades tell apart what is no state: hosts, processes, ports."""

LEVELS: Final = {"warning": WARNING, "critical": CRITICAL, None: WARNING}


def steps(*levels: tuple[float, str], base: str = WELL) -> dict[str, Any]:
    """Colours from values on."""
    first: dict[str, Any] = {"color": base, "value": None}
    return {
        "mode": "absolute",
        "steps": [first, *({"color": colour, "value": value} for value, colour in levels)],
    }


def at_threshold(name: str, well: str = WELL) -> dict[str, Any]:
    """Orange and red where the alerts with that threshold would fire; below, the colour of what is well."""
    levels = ((rules.threshold(name, level), LEVELS[level]) for level in rules.severities(name))
    return steps(*levels, base=well)


def below_threshold(name: str, well: str = WELL) -> dict[str, Any]:
    """The same for what is the worse the less it is: red up to the critical threshold, then orange."""
    critical, warning = (rules.threshold(name, level) for level in ("critical", "warning"))
    return steps((critical, WARNING), (warning, well), base=CRITICAL)
