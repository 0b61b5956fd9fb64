"""Builds the sockets of states.py, one family at a time, and brings each to its state."""

from __future__ import annotations

import socket
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress

from .states import BINDER, CLIENT, FAMILIES, PRINTD, STALLED, STATES, TIME_WAIT_OWNERS, UNKNOWN, Case


def wait_for_state(end: socket.socket, state: str) -> None:
    """Wait until the kernel reports this state: the packets of the peer take a moment."""
    deadline = time.monotonic() + 5
    # The first byte of tcp_info is the state's number.
    while (number := end.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]) != STATES[state]:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{end}: state {number}, not {state}")
        time.sleep(0.001)


class Builder:
    """Makes the sockets of one family, and records them with the processes that are to hold them."""

    def __init__(self, family: str) -> None:
        self.family = family
        self.first_port, self.host = FAMILIES[family]
        self.kind = socket.AF_INET6 if family == "ipv6" else socket.AF_INET
        self.held: list[tuple[str, socket.socket]] = []
        self.made: Counter[tuple[str, str, str, str, int]] = Counter()

    def record(self, state: str, process: str, direction: str, port: int) -> None:
        family = self.family
        if family == "mapped":
            family = "ipv6" if state == "listen" else "ipv4"
        self.made[state, family, process, direction, self.first_port + port] += 1

    def hold(self, process: str, end: socket.socket, state: str, direction: str, port: int) -> None:
        self.record(state, process, direction, port)
        self.held.append((process, end))

    def listen(self, process: str, case: Case) -> socket.socket:
        dual = self.family == "mapped"
        listener = socket.create_server(
            ("::" if dual else self.host, self.first_port + case),
            family=socket.AF_INET6 if dual else self.kind,
            backlog=64,
            dualstack_ipv6=dual,
        )
        self.hold(process, listener, "listen", "none", case)
        return listener

    def connect(self, case: Case, *, wait: bool = True) -> socket.socket:
        end = socket.socket(self.kind)
        end.settimeout(5.0 if wait else 0.0)
        with suppress(BlockingIOError):
            end.connect((self.host, self.first_port + case))
        return end

    def pairs(self, case: Case, count: int) -> Iterator[tuple[socket.socket, socket.socket]]:
        listener = self.listen(PRINTD, case)
        for _ in range(count):
            client = self.connect(case)
            server = listener.accept()[0]
            for end in (client, server):
                # Acknowledge a FIN immediately, not 40 ms later.
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
            yield client, server

    def build(self, case: Case, count: int) -> None:
        if case is Case.BOUND:
            self.bind(count)
        elif case in (Case.SYN_SENT, Case.SYN_RECV):
            self.half_open(case, count)
        elif case in (Case.UNACCEPTED, Case.NOT_ACCEPTED):
            self.unaccepted(case, count)
        else:
            for number, (client, server) in enumerate(self.pairs(case, count)):
                if case in TIME_WAIT_OWNERS and not (case is Case.SHARED_TIME_WAIT and number == 0):
                    self.time_wait(case, client, server)
                else:
                    self.pair(case, client, server)

    def bind(self, count: int) -> None:
        for port in range(Case.BOUND, Case.BOUND + count):
            end = socket.socket(self.kind)
            end.bind((self.host, self.first_port + port))
            self.hold(BINDER, end, "close", "none", port)

    def half_open(self, case: Case, count: int) -> None:
        if case is Case.SYN_RECV:
            self.listen(PRINTD, case)
        for _ in range(count):
            self.hold(CLIENT, self.connect(case, wait=False), "syn_sent", "outbound", case)
            if case is Case.SYN_RECV:
                self.record("syn_recv", PRINTD, "inbound", case)

    def unaccepted(self, case: Case, count: int) -> None:
        self.listen(STALLED, case)
        for _ in range(count):
            client = self.connect(case)
            if case is Case.UNACCEPTED:
                states = "established", "established"
            else:
                client.shutdown(socket.SHUT_WR)
                states = "fin_wait2", "close_wait"
            wait_for_state(client, states[0])
            self.hold(CLIENT, client, states[0], "outbound", case)
            self.record(states[1], STALLED, "inbound", case)

    def pair(self, case: Case, client: socket.socket, server: socket.socket) -> None:
        """Bring one connection to the states of its case. A recv() waits for the FIN of the peer."""
        states = "established", "established"
        match case:
            case Case.NOT_READ | Case.NOT_CLOSED:
                client.shutdown(socket.SHUT_WR)
                states = "fin_wait2", "close_wait"
                if case is Case.NOT_CLOSED:
                    server.recv(1)
            case Case.CLIENT_CLOSE_WAIT:
                server.shutdown(socket.SHUT_WR)
                states = "close_wait", "fin_wait2"
            case Case.FIN_WAIT1 | Case.FIN_WAIT1_ORPHAN:
                client.shutdown(socket.SHUT_WR)
                states = "fin_wait1", "established"
            case Case.LAST_ACK | Case.LAST_ACK_ORPHAN:
                client.shutdown(socket.SHUT_WR)
                # Otherwise the ACK for the client could be part of the server's FIN, which is dropped.
                wait_for_state(client, "fin_wait2")
                server.shutdown(socket.SHUT_WR)
                states = "fin_wait2", "last_ack"
            case Case.CLOSING | Case.CLOSING_ORPHAN:
                client.shutdown(socket.SHUT_WR)
                server.shutdown(socket.SHUT_WR)
                client.recv(1)
                states = "closing", "fin_wait2"
        wait_for_state(client, states[0])
        wait_for_state(server, states[1])
        if case in (Case.NOT_CLOSED, Case.FIN_WAIT1_ORPHAN, Case.CLOSING_ORPHAN):
            client.close()
            self.record(states[0], UNKNOWN, "outbound", case)
        else:
            self.hold(CLIENT, client, states[0], "outbound", case)
        if case is Case.LAST_ACK_ORPHAN:
            server.close()
            self.record(states[1], PRINTD, "inbound", case)
        else:
            self.hold(PRINTD, server, states[1], "inbound", case)

    def time_wait(self, case: Case, client: socket.socket, server: socket.socket) -> None:
        first, second = (server, client) if case is Case.SERVER_TIME_WAIT else (client, server)
        first.shutdown(socket.SHUT_WR)
        second.recv(1)
        second.close()
        first.recv(1)
        first.close()
        direction = "inbound" if first is server else "outbound"
        self.record("time_wait", TIME_WAIT_OWNERS[case], direction, case)
