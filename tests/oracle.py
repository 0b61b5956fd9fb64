"""The output of `ss`: the reference for the sockets that this project reads."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

STATES: Final = {
    "ESTAB": "established",
    "SYN-SENT": "syn_sent",
    "SYN-RECV": "syn_recv",
    "FIN-WAIT-1": "fin_wait1",
    "FIN-WAIT-2": "fin_wait2",
    "TIME-WAIT": "time_wait",
    "UNCONN": "close",
    "CLOSE-WAIT": "close_wait",
    "LAST-ACK": "last_ack",
    "LISTEN": "listen",
    "CLOSING": "closing",
}
"""State as `ss` prints it -> value of the label `state`."""

FILTERS: Final = {label: name.lower() for name, label in STATES.items()} | {
    "established": "established",
    "listen": "listening",
    "close": "unconnected",
}
"""Value of the label `state` -> filter of `ss state`."""

_MAPPED: Final = bytes(10) + b"\xff\xff"


class Row(NamedTuple):
    """One line of `ss -Htan`. Addresses are 4 or 16 bytes, `::ffff:` mapped ones 4, as in exporter.model."""

    state: str
    local_address: bytes
    local_port: int
    remote_address: bytes
    remote_port: int
    receive_queue_bytes: int
    """For a listener: the connections in its accept queue."""
    send_queue_bytes: int
    """For a listener: the limit of its accept queue."""

    @property
    def family(self) -> str:
        return "ipv4" if len(self.local_address) == 4 else "ipv6"


def oracle(dump: Path) -> list[Row]:
    """Return the sockets of a recorded dump as `ss` reads it: up to the first NLMSG_DONE, in all states."""
    return rows(_ss({"TCPDIAG_FILE": str(dump)}))


def rows(text: str, state: str | None = None) -> list[Row]:
    """Return the sockets in the output of `ss -Htan`. `state`: the filter that was given, as `ss` omits the
    column then."""
    return list(_rows(text, state))


def _ss(environment: dict[str, str]) -> str:
    result = subprocess.run(
        ["ss", "-Htan"], env=os.environ | environment, capture_output=True, text=True, timeout=20, check=True
    )
    return result.stdout


def _rows(text: str, state_filter: str | None) -> Iterator[Row]:
    for line in text.splitlines():
        fields = line.split()
        state = state_filter or STATES[fields.pop(0)]
        receive_queue_bytes, send_queue_bytes, local, remote = fields[:4]
        yield Row(
            state, *_endpoint(local), *_endpoint(remote), int(receive_queue_bytes), int(send_queue_bytes)
        )


def _endpoint(text: str) -> tuple[bytes, int]:
    """`127.0.0.1:80`, `[::1%lo]:80`, `*:*`: the last is a socket for both families, on no port."""
    host, _, port = text.rpartition(":")
    host = host.strip("[]").partition("%")[0]
    number = 0 if port == "*" else int(port)
    if host == "*":
        return bytes(16), number
    if ":" not in host:
        return socket.inet_pton(socket.AF_INET, host), number
    raw = socket.inet_pton(socket.AF_INET6, host)
    return raw.removeprefix(_MAPPED), number
