"""Colors, with one meaning on all dashboards: red is a problem, orange may become one, green is ok."""

from __future__ import annotations

from typing import Any, Final, assert_never

from exporter.model.close_wait import Cause

from . import rules

OK: Final = "green"
WARNING: Final = "orange"
CRITICAL: Final = "red"
NEUTRAL: Final = "text"
"""Color of values that are neither good nor bad."""

TRANSPARENT: Final = "transparent"
"""Color of table cells without a problem."""

UNKNOWN: Final = "#808080"
"""Color of series without a known owner or cause."""

STATES: Final = {
    # Yellow: the connection is being established.
    "syn_sent": "semi-dark-yellow",
    "syn_recv": "light-yellow",
    "established": "super-light-blue",
    # Blue: the local side has closed.
    "fin_wait1": "#B0C4DE",
    "fin_wait2": "light-blue",
    "time_wait": "semi-dark-blue",
    # Purple: the peer has closed.
    "close_wait": "semi-dark-purple",
    "last_ack": "light-purple",
    "closing": "super-light-purple",
    # Grey: no connection.
    "listen": "#A0A0A0",
    "close": "#606060",
}


def _cause_color(cause: Cause) -> str:
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
            return UNKNOWN
        case _:
            assert_never(cause)


CAUSES: Final = {cause.value: _cause_color(cause) for cause in Cause}

DEAD_FDS: Final = {"dead (lost)": "#D16BA5", "dead (unknown)": "#A8899E"}
"""Dead file descriptors, shown like causes of CLOSE_WAIT: name of the series -> color. No state has pink."""

CLOSE_WAIT: Final = STATES["close_wait"]
TIME_WAIT: Final = STATES["time_wait"]
PALETTE: Final = "blue"
"""Base color of the shades for series that are not states: hosts, processes, ports."""

SEVERITY_COLORS: Final = {"warning": WARNING, "critical": CRITICAL, None: WARNING}


def steps(*levels: tuple[float, str], base: str = OK) -> dict[str, Any]:
    """Return Grafana's thresholds: `base`, then each color from its value on."""
    first: dict[str, Any] = {"color": base, "value": None}
    return {
        "mode": "absolute",
        "steps": [first, *({"color": color, "value": value} for value, color in levels)],
    }


def thresholds_above(name: str, ok: str = OK) -> dict[str, Any]:
    """Return thresholds that turn orange and red where the alerts would fire, `ok` below."""
    levels = (
        (rules.threshold(name, severity), SEVERITY_COLORS[severity])
        for severity in rules.threshold_severities(name)
    )
    return steps(*levels, base=ok)


def thresholds_below(name: str, ok: str = OK) -> dict[str, Any]:
    """Return thresholds for a value that is worse the lower it is: red, orange, then `ok`."""
    critical, warning = (rules.threshold(name, severity) for severity in ("critical", "warning"))
    return steps((critical, WARNING), (warning, ok), base=CRITICAL)
