"""Leaves sockets in CLOSE_WAIT for every cause: a program to be run inside a Namespace.

All connections stand idle for IDLE seconds before their peers end them, so that the last data and the
FIN are apart. Then a line of JSON says what there is, a list of `Leak` as lists; a second line follows
when those that send after LATE more seconds have done so. All stand until stdin ends.
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
"""What the client and the server open. `fallback`: MPTCP that turned into TCP; there the client leaks."""


class Case(NamedTuple):
    """What is done and what is to be seen. The last ACK came with the FIN, unless `acknowledged`."""

    cause: str
    accept: bool = True
    message: bool = False
    """The peer sends MESSAGE before its FIN."""
    read: int | None = None
    """How many bytes are read; 0: until the end."""
    fill: bool = False
    """Send after the peer's FIN until nothing goes any more."""
    late: bool = False
    """Send a little after LATE seconds."""
    keep_alive: str = ""
    """Who probes after every second of silence: `own` or `peer`."""
    peer_closes: bool = False
    deaf: bool = False
    """Nothing gets to the peer any more, which repeats its FIN."""

    @property
    def acknowledged(self) -> bool:
        """ACKs come after the FIN: the time of the last one is no more than a lower bound."""
        return self.fill or self.late or self.keep_alive == "own" or self.deaf


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
    "sent": Case("not_closed", read=0, late=True),
    "own keepalive": Case("not_closed", read=0, keep_alive="own"),
    "peer keepalive": Case("not_closed", read=0, keep_alive="peer"),
    "deaf peer": Case("not_read", deaf=True),
}

_MPTCP_CASES: Final = ("data unread", "end read", "data read exactly", "sending", "sent")
MADE: Final = [
    *(("tcp", case) for case in CASES),
    *(("mptcp", case) for case in ("fin not accepted", "data not accepted", *_MPTCP_CASES)),
    *(("fallback", case) for case in _MPTCP_CASES),
]


class Leak(NamedTuple):
    """One socket in CLOSE_WAIT. `ended`: when its peer ended the connection, monotonic seconds."""

    protocol: str
    case: str
    family: str
    local_port: int
    remote_port: int
    ended: float


class Connection:
    """A connection and what is done with it, step by step."""

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
        for who, end in (("own", self._leaking), ("peer", self._peer)):
            if self.case.keep_alive == who:
                end.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 1)
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 1)

    def end(self) -> None:
        """The peer's side is ended."""
        if self.case.message:
            self._peer.sendall(MESSAGE)
        self.ended = time.monotonic()
        if self.case.peer_closes:
            self._peer.close()
        else:
            self._peer.shutdown(socket.SHUT_WR)

    def go_on(self) -> None:
        """The local side does what it does, which is not to close."""
        if self.case.read is not None:
            expected = MESSAGE[: self.case.read]
            if self._leaking.recv(self.case.read or 1, socket.MSG_WAITALL) != expected:
                sys.exit(f"{self._name}: something else was read")
        if self.case.fill:
            self._leaking.setblocking(False)
            with suppress(BlockingIOError):
                while self._leaking.send(bytes(65536)):
                    pass

    def go_on_late(self) -> None:
        if self.case.late:
            self._leaking.sendall(b"still here")

    def leak(self) -> Leak:
        ports = [self.server_port, self._client_port]
        local, remote = ports if self._inbound else reversed(ports)
        return Leak(*self._name, local, remote, self.ended)


def mptcp_offered() -> bool:
    """Whether this kernel has it and this namespace lets it be used."""
    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_STREAM, _MPTCP):
        return True
    return False


def silence(ports: list[int]) -> None:
    """Let nothing from these ports get through."""
    wanted = ", ".join(map(str, ports))
    rules = f"""table inet leaks {{
      chain input {{
        type filter hook input priority 0;
        tcp sport {{ {wanted} }} drop
      }}
    }}
    """
    subprocess.run(["nft", "-f", "-"], input=rules, text=True, check=True)


def main() -> None:
    """Connect, wait, end, go on, wait for the end."""
    socket.setdefaulttimeout(5)
    offered = PROTOCOLS if mptcp_offered() else ("tcp",)
    made = [Connection(*one, family) for one in MADE if one[0] in offered for family in HOSTS]
    silence([one.server_port for one in made if one.case.deaf])
    time.sleep(IDLE)
    for connection in made:
        connection.end()
    for connection in made:
        connection.go_on()
    print(json.dumps([one.leak() for one in made]), flush=True)
    time.sleep(LATE)
    for connection in made:
        connection.go_on_late()
    print("sent", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
