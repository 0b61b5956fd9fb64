"""The sockets that `live.hold` holds: a known number in every TCP state.

Every state has a different number of sockets, and so has each family, so that a mix-up shows. Some states are
transient; RULES, nftables rules that drop the packet that would end them, keeps them.
"""

from __future__ import annotations

from enum import IntEnum, auto
from typing import Final, NamedTuple

PRINTD: Final = "printd"
"""Accepts connections."""
CLIENT: Final = "client"
"""Connects."""
STALLED: Final = "stalled"
"""Listens and never accepts."""
BINDER: Final = "binder"
"""Has sockets that are bound and neither connected nor listening."""
UNKNOWN: Final = "unknown"

STATES: Final = {
    "established": 1,
    "syn_sent": 2,
    "syn_recv": 3,
    "fin_wait1": 4,
    "fin_wait2": 5,
    "time_wait": 6,
    "close": 7,
    "close_wait": 8,
    "last_ack": 9,
    "listen": 10,
    "closing": 11,
}
"""The kernel's numbers (include/net/tcp_states.h), as literals: not taken from the code under test."""

FAMILIES: Final = {"ipv4": (7000, "127.0.0.1"), "ipv6": (7100, "::1"), "mapped": (7200, "127.0.0.1")}
"""Family -> its first port and its address. Mapped: IPv4 clients of a listener on `::`."""


class Case(IntEnum):
    """The port of each case, relative to the first port of the family."""

    ACCEPTED = auto()
    UNACCEPTED = auto()
    NOT_ACCEPTED = auto()
    """The same, and the peer has closed: CLOSE_WAIT."""
    NOT_READ = auto()
    """CLOSE_WAIT at printd, the FIN unread. The client keeps its socket, in FIN_WAIT2."""
    NOT_CLOSED = auto()
    """CLOSE_WAIT at printd, the FIN read. The client has closed its socket, an orphan in FIN_WAIT2."""
    CLIENT_CLOSE_WAIT = auto()
    SYN_SENT = auto()
    SYN_RECV = auto()
    FIN_WAIT1 = auto()
    FIN_WAIT1_ORPHAN = auto()
    LAST_ACK = auto()
    LAST_ACK_ORPHAN = auto()
    CLOSING = auto()
    CLOSING_ORPHAN = auto()
    SERVER_TIME_WAIT = auto()
    CLIENT_TIME_WAIT = auto()
    """Towards a port without other connections: the owner cannot be inferred."""
    SHARED_TIME_WAIT = auto()
    """Towards a port to which the client is still connected, by the first connection of the case: that is no
    evidence that it opened the others."""
    BOUND = 50
    """And the ports after it, one for each socket."""


TIME_WAIT_OWNERS: Final = {
    Case.SERVER_TIME_WAIT: PRINTD,
    Case.CLIENT_TIME_WAIT: UNKNOWN,
    Case.SHARED_TIME_WAIT: UNKNOWN,
}
"""The owner that the first collection reports for sockets in TIME_WAIT. The kernel keeps none."""

COUNTS: Final[dict[str, dict[Case, int]]] = {
    "ipv4": dict(zip(Case, (8, 3, 4, 6, 3, 2, 5, 6, 3, 2, 4, 3, 5, 4, 3, 7, 2, 8), strict=True)),
    "ipv6": dict(zip(Case, (9, 4, 3, 7, 4, 5, 6, 7, 4, 2, 5, 3, 6, 4, 7, 3, 5, 12), strict=True)),
    "mapped": {Case.ACCEPTED: 3, Case.NOT_ACCEPTED: 1, Case.NOT_READ: 2, Case.SERVER_TIME_WAIT: 1},
}


def _ports(*cases: Case) -> str:
    return "{ " + ", ".join(str(first + case) for first, _ in FAMILIES.values() for case in cases) + " }"


RULES: Final = f"""
table inet held {{
  chain input {{
    type filter hook input priority 0; policy accept;
    tcp dport {_ports(Case.SYN_SENT)} drop
    tcp sport {_ports(Case.SYN_RECV)} tcp flags & (syn|ack) == (syn|ack) drop
    tcp dport {_ports(Case.FIN_WAIT1, Case.FIN_WAIT1_ORPHAN)} tcp flags & fin == fin drop
    tcp dport {_ports(Case.CLOSING, Case.CLOSING_ORPHAN)} tcp flags & fin == fin drop
    tcp sport {_ports(Case.LAST_ACK, Case.LAST_ACK_ORPHAN)} tcp flags & fin == fin drop
  }}
}}
"""


class Expected(NamedTuple):
    """A number of sockets, as expected in the report. Listening and bound sockets have no direction."""

    state: str
    family: str
    process: str
    direction: str
    port: int
    """The service port: the remote one of outbound sockets, else the local one."""
    sockets: int
