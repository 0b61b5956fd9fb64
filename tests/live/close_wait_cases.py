"""Leave sockets in CLOSE_WAIT for every cause: a program to be run inside a Namespace.

All connections are idle for IDLE seconds before their peers shut them down, so that the last data and the
FIN differ in time. Then it prints a line of JSON, a list of `Leak` as lists; a second line follows when those
that send after LATE more seconds have done so. All exist until stdin ends.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from contextlib import suppress
from typing import Final, NamedTuple

IDLE: Final = 1.5
LATE: Final = 2.0

MESSAGE: Final = b"x" * 100
HOSTS: Final = {"ipv4": "127.0.0.1", "ipv6": "::1"}
_MPTCP: Final = 262
PROTOCOLS: Final = {"tcp": (0, 0), "mptcp": (_MPTCP, _MPTCP), "fallback": (_MPTCP, 0)}
"""Protocols of the client and the server. `fallback`: MPTCP that fell back to TCP; there the client leaks."""


class Case(NamedTuple):
    """Actions and the expected cause. The last ACK came with the FIN, unless `acknowledged`."""

    cause: str
    accept: bool = True
    message: bool = False
    """The peer sends MESSAGE before its FIN."""
    read: int | None = None
    """Number of bytes that are read; 0: until the FIN."""
    fill: bool = False
    """Send after the peer's FIN until the send buffer is full."""
    late: bool = False
    """Send a few bytes after LATE seconds."""
    keep_alive: str = ""
    """The side that sends keepalive probes after every idle second: `own` or `peer`."""
    peer_closes: bool = False
    cut_off: bool = False
    """No packet reaches the peer any more, which retransmits its FIN."""

    @property
    def acknowledged(self) -> bool:
        """Whether ACKs come after the FIN: then the time of the last one is only a lower bound."""
        return self.fill or self.late or self.keep_alive == "own" or self.cut_off


CASES: Final = {
    "fin not accepted": Case("not_accepted", accept=False),
    "data not accepted": Case("not_accepted", accept=False, message=True),
    "fin unread": Case("not_read"),
    "data unread": Case("not_read", message=True),
    "peer gone": Case("not_read", message=True, peer_closes=True),
    "end read": Case("not_closed", read=0),
    "data read exactly": Case("not_closed", message=True, read=len(MESSAGE)),
    "sending": Case("sending", read=0, fill=True),
    "sending unread": Case("sending", message=True, fill=True),
    "sent": Case("sending", read=0, late=True),
    "own keepalive": Case("not_closed", read=0, keep_alive="own"),
    "peer keepalive": Case("not_closed", read=0, keep_alive="peer"),
    "peer cut off": Case("not_read", cut_off=True),
}

_MPTCP_CASES: Final = ("data unread", "end read", "data read exactly", "sending", "sent")
CONNECTIONS: Final = [
    *(("tcp", case) for case in CASES),
    *(("mptcp", case) for case in ("fin not accepted", "data not accepted", *_MPTCP_CASES)),
    *(("fallback", case) for case in _MPTCP_CASES),
]


class Leak(NamedTuple):
    """One socket in CLOSE_WAIT. `ended`: when its peer shut the connection down, monotonic seconds."""

    protocol: str
    case: str
    family: str
    local_port: int
    remote_port: int
    ended: float


class Connection:
    """A connection and the actions on it, step by step."""

    def __init__(self, protocol: str, case: str, family: str) -> None:
        self._name = protocol, case, family
        self.case = CASES[case]
        self.ended = 0.0
        kind = socket.AF_INET6 if family == "ipv6" else socket.AF_INET
        for_client, for_server = PROTOCOLS[protocol]
        self._listener = socket.socket(kind, socket.SOCK_STREAM, for_server)
        self._listener.bind((HOSTS[family], 0))
        self._listener.listen()
        self.server_port = self._listener.getsockname()[1]
        client = socket.socket(kind, socket.SOCK_STREAM, for_client)
        client.connect(self._listener.getsockname())
        self._client_port = client.getsockname()[1]
        server = self._listener.accept()[0] if self.case.accept else self._listener
        self._inbound = protocol != "fallback"
        self._leaking, self._peer = (server, client) if self._inbound else (client, server)
        for side, sock in (("own", self._leaking), ("peer", self._peer)):
            if self.case.keep_alive == side:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 1)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 1)

    def shut_down_peer(self) -> None:
        """Send the FIN of the peer."""
        if self.case.message:
            self._peer.sendall(MESSAGE)
        self.ended = time.monotonic()
        if self.case.peer_closes:
            self._peer.close()
        else:
            self._peer.shutdown(socket.SHUT_WR)

    def act(self) -> None:
        """Do what the local side does in this case, which is not to close."""
        if self.case.read is not None:
            expected = MESSAGE[: self.case.read]
            if self._leaking.recv(self.case.read or 1, socket.MSG_WAITALL) != expected:
                sys.exit(f"{self._name}: the wrong bytes were read")
        if self.case.fill:
            self._leaking.setblocking(False)
            with suppress(BlockingIOError):
                while self._leaking.send(bytes(65536)):
                    pass

    def act_late(self) -> None:
        if self.case.late:
            self._leaking.sendall(b"still here")

    def leak(self) -> Leak:
        ports = [self.server_port, self._client_port]
        local, remote = ports if self._inbound else reversed(ports)
        return Leak(*self._name, local, remote, self.ended)


def is_mptcp_available() -> bool:
    """Return whether this kernel supports MPTCP and this namespace permits it."""
    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_STREAM, _MPTCP):
        return True
    return False


def drop_packets_from(ports: list[int]) -> None:
    """Drop all packets from these ports."""
    listed = ", ".join(map(str, ports))
    rules = f"""table inet leaks {{
      chain input {{
        type filter hook input priority 0;
        tcp sport {{ {listed} }} drop
      }}
    }}
    """
    subprocess.run(["nft", "-f", "-"], input=rules, text=True, check=True)


def main() -> None:
    """Connect, wait, shut the peers down, act, wait for the end of stdin."""
    socket.setdefaulttimeout(5)
    protocols = PROTOCOLS if is_mptcp_available() else ("tcp",)
    connections = [
        Connection(protocol, case, family)
        for protocol, case in CONNECTIONS
        if protocol in protocols
        for family in HOSTS
    ]
    drop_packets_from([connection.server_port for connection in connections if connection.case.cut_off])
    time.sleep(IDLE)
    for connection in connections:
        connection.shut_down_peer()
    for connection in connections:
        connection.act()
    print(json.dumps([connection.leak() for connection in connections]), flush=True)
    time.sleep(LATE)
    for connection in connections:
        connection.act_late()
    print("sent", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
