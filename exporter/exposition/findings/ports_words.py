"""What to do when ports run out: use connections again first, turn knobs afterwards."""

from __future__ import annotations

from typing import Final

from .finding import Scope, Severity
from .words import paragraphs

_REGISTRY: Final = r"HKLM\SYSTEM\CurrentControlSet\Services\Tcpip\Parameters"

_USE_AGAIN: Final = paragraphs("""
    Keep connections open and use them again: a connection pool, HTTP keep-alive. This is the cure: a new
    connection for each request is what uses up the ports. All else only buys time.
""")
_LEAK: Final = paragraphs("""
    Most of these connections are open, not in TIME_WAIT: look for a program that opens them and does not
    close them, and give its pool a bound.
""")
_SPREAD: Final = (
    "Spread the load over more addresses or ports of the service: each has a limit of its own.",
)
_REUSE: Final = paragraphs("""
    Set `net.ipv4.tcp_tw_reuse=1`: new connections may then take ports that were in TIME_WAIT for a second.
""")
_MYTHS: Final = paragraphs("""
    What does not help: `net.ipv4.tcp_fin_timeout` does not shorten TIME_WAIT, and `tcp_tw_recycle` is gone
    since Linux 4.12.
""")
_BIND: Final = paragraphs("""
    Programs that bind() to an address and then connect can set `IP_BIND_ADDRESS_NO_PORT`, as HAProxy and
    nginx do: the same port then serves several destinations.

    Give them more source addresses.
""")


def advice(scope: Scope, severity: Severity, *, mostly_time_wait: bool, reused: bool) -> tuple[str, ...]:
    """Of one destination. reused: whether ports in TIME_WAIT are taken again already."""
    first = _USE_AGAIN if mostly_time_wait else _LEAK
    if severity is Severity.NOTE:
        return first
    if scope.windows:
        return first + _windows(scope, mostly_time_wait=mostly_time_wait) + _SPREAD
    if not mostly_time_wait:
        return first + _widen(scope) + _SPREAD
    return first + (() if reused else _REUSE) + _widen(scope) + _SPREAD + _MYTHS


def bound_advice(scope: Scope) -> tuple[str, ...]:
    """Of one local address."""
    if scope.windows:
        return _USE_AGAIN + _windows(scope, mostly_time_wait=True)
    return _USE_AGAIN + _BIND + _widen(scope)


def _widen(scope: Scope) -> tuple[str, ...]:
    now = scope.seen.limits.ephemeral if scope.seen.limits else None
    was = f" (now {now.low} to {now.high})" if now else ""
    return paragraphs(f"""
        Widen `net.ipv4.ip_local_port_range`{was}, and list the ports of your own services in
        `net.ipv4.ip_local_reserved_ports`, so that no connection takes them.
    """)


def _windows(scope: Scope, *, mostly_time_wait: bool) -> tuple[str, ...]:
    widen = paragraphs(f"""
        Widen the range of ports: `netsh int ipv4 show dynamicport tcp` tells it, `netsh int ipv4 set
        dynamicport tcp start=10000 num=55536` sets it. On Windows older than Vista it is the value
        `MaxUserPort` in the registry, in `{_REGISTRY}`.
    """)
    if not mostly_time_wait:
        return widen
    now = scope.seen.limits.time_wait_seconds if scope.seen.limits else None
    delay = f" (now {now:.0f})" if now is not None else ""
    return widen + paragraphs(f"""
        Shorten TIME_WAIT: `TcpTimedWaitDelay`, seconds{delay}, in the same place of the registry
        (`{_REGISTRY}`). It holds from the next boot on.
    """)
