"""Steps for an administrator of Windows, with its own tools, and the time of TIME_WAIT there."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from ..model.host import EphemeralRange, SysctlLimits
from .formatting import escape_unprintable, join_and, paragraph, paragraphs

DEFAULT_TIME_WAIT: Final = "2 to 4 minutes"
"""Duration of TIME_WAIT unless TcpTimedWaitDelay is set. Microsoft documents both 120 and 240 seconds."""

_REGISTRY: Final = r"HKLM\SYSTEM\CurrentControlSet\Services\Tcpip\Parameters"
# Any other character means something in PowerShell: `Restart-Service MSSQL$PAYROLL` would lose `$PAYROLL`.
_UNQUOTED: Final = re.compile(r"[A-Za-z0-9_.][A-Za-z0-9_.-]*")

LIST_SOCKETS: Final = paragraphs("""
    List the connections and bound ports of each program with `netstat -anobq`, as administrator.
""")


def check_steps(name: str) -> tuple[str, ...]:
    """Return the step that tells a program that hangs from one that does not close. name: its short name."""
    return paragraphs(f"""
        Check whether {name} hangs, so that it has not noticed, or works and does not close them: Task Manager
        shows what it waits for (Details, right click on the process, Analyze wait chain).
    """)


def inspect_threads_steps(name: str, pid: int | None) -> tuple[str, ...]:
    """Return the step that shows what a process waits for. name: its short name."""
    return paragraphs(f"""
        Find what {name} waits for with Task Manager (Details, right click on the process, Analyze wait
        chain), or write a dump for its vendor: `procdump -ma {"PID" if pid is None else pid}`.
    """)


def restart_steps(
    name: str, pid: int | None, services: Sequence[str], *, is_shared: bool = False
) -> tuple[str, ...]:
    """Return the steps for a program that does not close.

    name: its short name. pid: of the process with most connections. services: those that own its connections.
    is_shared: whether the process runs other services as well.
    """
    number = "PID" if pid is None else pid
    report = paragraphs(f"""
        Report this to the vendor of {name}: the handles accumulate again until the program is fixed. No
        registry value and no keepalive replaces the missing `closesocket()`.
    """)
    if not services:
        return (
            paragraphs(f"""
                Restart {name} to free the handles immediately: end it with Task Manager, or as administrator
                with `Stop-Process -Id {number}`, and start it again.
            """)
            + report
        )
    if len(services) > 1:
        names = join_and([escape_unprintable(service) for service in services])
        return (
            paragraphs(f"""
                Restart the services of this process one after the other, as administrator, to find the one
                that frees the handles: `Restart-Service NAME` for {names}.
            """)
            + report
        )
    service = quote(services[0])
    restart = paragraphs(f"""
        Restart the service to free the handles immediately: `Restart-Service {service}` in PowerShell, as
        administrator, with `-Force` if other services depend on it.
    """)
    if is_shared:
        # Its process is that of other services, which would end as well.
        return restart + report
    end = paragraphs(f"""
        End the process if the service does not stop: `Stop-Process -Id {number} -Force`, then
        `Start-Service {service}`.
    """)
    return restart + end + report


def quote(service: str) -> str:
    """Return the name of a service as an argument in PowerShell."""
    printable = escape_unprintable(service)
    return printable if _UNQUOTED.fullmatch(printable) else "'" + printable.replace("'", "''") + "'"


def port_steps(limits: SysctlLimits | None, *, mostly_time_wait: bool) -> tuple[str, ...]:
    """Return the steps against a lack of ephemeral ports, which only buy time."""
    limits = limits or SysctlLimits()
    widen = paragraphs(f"""
        Widen the range of ports{_now(limits)} as administrator: `netsh int ipv4 set dynamicport tcp
        start=10000 num=55536`; `netsh int ipv4 show dynamicport tcp` shows it.
    """)
    if not mostly_time_wait:
        return LIST_SOCKETS + widen
    return widen + paragraphs(f"""
        Shorten TIME_WAIT (now {format_time_wait(limits)}) with the registry value `TcpTimedWaitDelay`, in
        seconds, in `{_REGISTRY}`; it applies from the next boot.
    """)


def _now(limits: SysctlLimits) -> str:
    return f" (now {format_port_range(limits.ephemeral, limits)})" if limits.ephemeral else ""


def format_port_range(ephemeral: EphemeralRange, limits: SysctlLimits) -> str:
    """Return the range, with `assumed` if it is not that of this host but the default of Windows."""
    return f"{ephemeral.low} to {ephemeral.high}{', assumed' if limits.ephemeral_is_assumed else ''}"


SHARE_PORTS: Final = paragraphs("""
    Set `SO_REUSE_UNICASTPORT` in programs that bind and then connect, as those with ConnectEx() do: the same
    port then serves several destinations.
""")


EXHAUSTION: Final = paragraph("""
    When all ports are in use, new connections fail, and the System log has the events 4231 (no port is left)
    or 4227 (a port was reused too soon) of the source Tcpip.
""")
"""Sentence on the lack of ephemeral ports."""


def format_time_wait(limits: SysctlLimits | None) -> str:
    """Return the duration of TIME_WAIT: `30 s`, or DEFAULT_TIME_WAIT if it is not set."""
    seconds = limits.time_wait_seconds if limits else None
    return DEFAULT_TIME_WAIT if seconds is None else f"{seconds:.0f} s"


def unanswered_syn_steps(port: int, name: str) -> tuple[str, ...]:
    """Return the steps for connections to another host. name: short name of the program."""
    return paragraphs(f"""
        Check whether the peer is up and reachable with `Test-NetConnection HOST -Port {port}`, from this host
        and from another one.

        Look for a firewall that drops packets silently, on this host, on the peer, or between them.

        Check on the peer, if it is up, whether the program on port {port} accepts connections.

        Ignore this if {name} connects to very many hosts on purpose, as a crawler does.
    """)


def unanswered_local_syn_steps(port: int) -> tuple[str, ...]:
    """Return the steps for connections to this host."""
    return paragraphs(f"""
        Look for a firewall rule that drops packets to this port silently:
        `Get-NetFirewallPortFilter | Where-Object LocalPort -eq {port} | Get-NetFirewallRule` lists the rules.

        Check whether the program that listens on port {port} accepts connections: `netstat -anob` names it,
        as administrator.
    """)


HALF_OPEN: Final = paragraphs("""
    List the clients with `netstat -anp tcp`: their connections are in SYN_RECEIVED.

    Block them at a firewall in front of this host if many addresses have one connection each: that is a SYN
    flood.

    Check the return path (routing, firewall, load balancer) if there are few addresses: the answers are lost.
""")

FIND_LOCAL_HOLDER: Final = "Find the program with `netstat -anob`, as administrator: its state is CLOSE_WAIT."


def half_closed_steps(name: str) -> tuple[str, ...]:
    """Return the step for a program that closes one direction only. name: its short name."""
    return paragraphs(f"""
        Set a receive timeout in {name} for connections that it has only shut down for sending: Windows ends
        those that it has closed after a while, but not these.
    """)
