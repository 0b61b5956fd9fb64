"""The scenarios of the soak test, whose processes all have names of their own.

- Hand-overs: a parent keeps some of its connections, and hands the others over to a forked child; a sender
  hands its connections over to an unrelated process (SCM_RIGHTS). Later the child exits, or the parent.
- Leaks under keepalive: a server never closes, and its clients are gone. Probes are answered by a reset, and
  the sockets leave CLOSE_WAIT and every table of the kernel; their descriptors are dead.
- A client that never closes, and all of whose connections were reset.
- Short-lived clients: each a process that connects, closes and exits, to the destination of a pool with one
  idle connection. Their sockets in TIME_WAIT are not the pool's.
"""

from __future__ import annotations

import socket
from typing import Final

from .actor import HOST
from .actors import Actors
from .judge import Closers, Held

HANDED_OVER: Final = 40
REPLACED: Final = 2 * HANDED_OVER
"""Connections that the parent opens in odd rounds: the number of its descriptors is the same again."""
KEPT: Final = 100
LEAKED: Final = 30
DIED: Final = 20
NEVER_CONNECTED: Final = 1
CLIENTS: Final = 5
"""Short-lived clients of one call of begin_clients()."""

SERVER: Final = "soak-server"
CALLER: Final = "soak-caller"
LEAKER: Final = "soak-leaker"
DEAD_CLIENT: Final = "soak-client"
POOL: Final = "soak-pool"
SPAWNER: Final = "soak-spawner"
SHORT_LIVED: Final = "soak-short"

# Ports of services: one for each use, so that the port of a socket in TIME_WAIT tells its former owner.
_KEPT_PORT: Final = 9501
_HANDED_PORT: Final = 9502
_SENT_PORT: Final = 9503
_POOL_PORT: Final = 9504
_DEAD_PORT: Final = 9505
_LEAK_PORT: Final = 9506
_PARENT_PORT: Final = 9507
_UNSEEN_PORT: Final = 9508
_SERVER_PORTS: Final = (_KEPT_PORT, _HANDED_PORT, _SENT_PORT, _POOL_PORT, _DEAD_PORT, _UNSEEN_PORT)

_KEEPALIVE_SECONDS: Final = 1


class Scenarios:
    """The scenarios of one round after the other; begin() starts a round."""

    def __init__(self, actors: Actors) -> None:
        self._actors = actors
        self._round = 0
        self.closers = Closers({}, {})
        """Processes that close connections, by service."""
        self.handed_over = 0
        self.died = 0
        self.short_lived = 0
        for name in (SERVER, CALLER, LEAKER, DEAD_CLIENT, POOL, SPAWNER):
            actors.start(name)
        for port in _SERVER_PORTS:
            actors.order(SERVER, "listen", f"listener {port}", port)
        actors.order(LEAKER, "listen", "listener", _LEAK_PORT)
        actors.order(LEAKER, "create", "never connected", NEVER_CONNECTED)
        self._connect(POOL, "idle", _POOL_PORT, 1)
        self._add_closers(_POOL_PORT, SHORT_LIVED, SERVER)
        self._add_closers(_LEAK_PORT, CALLER)

    @property
    def names(self) -> set[str]:
        """Names of the running processes."""
        return self._actors.names

    @property
    def _parent(self) -> str:
        return f"soak-parent{self._round}"

    @property
    def _child(self) -> str:
        return f"soak-child{self._round}"

    @property
    def _sender(self) -> str:
        return f"soak-sender{self._round}"

    @property
    def _receiver(self) -> str:
        return f"soak-recv{self._round}"

    def begin(self, number: int) -> None:
        """Open the connections of a round."""
        self._round = number
        for name in (self._parent, self._sender, self._receiver):
            self._actors.start(name)
        self._connect(self._parent, "kept", _KEPT_PORT, KEPT)
        self._connect(self._parent, "handed over", _HANDED_PORT, HANDED_OVER)
        self._actors.order(self._parent, "listen", "listener", _PARENT_PORT)
        self._actors.order(CALLER, "connect", "parent", _PARENT_PORT, HANDED_OVER)
        self._actors.order(self._parent, "accept", "listener", "handed over", HANDED_OVER)
        self._connect(self._sender, "handed over", _SENT_PORT, HANDED_OVER)
        self._connect(DEAD_CLIENT, "leaked", _DEAD_PORT, DIED)
        self._actors.order(CALLER, "connect", "leaker", _LEAK_PORT, LEAKED)
        self._actors.order(LEAKER, "accept", "listener", "leaked", LEAKED, _KEEPALIVE_SECONDS)

    def fork(self) -> None:
        """Hand connections over to a child. In odd rounds the parent opens as many others."""
        self._actors.order(POOL, "open_unrelated", 3 + self._round % 3)
        self._actors.fork(self._parent, "handed over", self._child)
        self.handed_over += 2 * HANDED_OVER
        self._add_closers(_HANDED_PORT, self._child, SERVER)
        # The child closes them; by the exporter's documentation they are of the process that listens.
        self._add_closers(_PARENT_PORT, CALLER, self._child, self._parent)
        if self._round % 2:
            self._connect(self._parent, "kept", _KEPT_PORT, REPLACED)

    def lose_unseen(self) -> None:
        """Open connections and reset them. In even rounds: their descriptors are found within two rounds."""
        if self._round % 2 == 0:
            self._connect(DEAD_CLIENT, "unseen", _UNSEEN_PORT, DIED)
            self._actors.order(SERVER, "close", f"clients {_UNSEEN_PORT}", "reset")
            self.died += DIED

    def send(self) -> None:
        """Hand connections over to an unrelated process."""
        self._actors.order(self._sender, "send", "handed over", self._receiver)
        self._actors.order(self._receiver, "receive", "handed over", HANDED_OVER)
        self.handed_over += HANDED_OVER

    def lose_peers(self) -> None:
        """Have the peers of connections that are never closed vanish; all are lost a few seconds later."""
        self._actors.order(CALLER, "close", "leaker", "vanish")
        self._actors.order(SERVER, "close", f"clients {_DEAD_PORT}", "reset")
        self.died += LEAKED + DIED

    def is_lost(self) -> bool:
        """Return whether the leaked connections are in no table any more."""
        held = self._actors.held()
        return not any(
            key.startswith(("established", "close_wait"))
            for name in (LEAKER, DEAD_CLIENT)
            for key in held[name]
        )

    def clean_up(self) -> None:
        """Close dead descriptors. In even rounds the child exits, in odd ones the parent."""
        for name in (LEAKER, DEAD_CLIENT):
            self._actors.order(name, "close", "leaked")
        if self._round % 2:
            self._actors.end(self._parent)
            self._add_closers(_KEPT_PORT, self._parent, SERVER)
            self._actors.order(SERVER, "close", f"clients {_KEPT_PORT}")
        else:
            self._actors.end(self._child)
            self._actors.order(SERVER, "close", f"clients {_HANDED_PORT}")
            self._actors.order(CALLER, "close", "parent")

    def finish(self) -> None:
        """End the round: its connections, by resets, and its processes."""
        if self._round % 2:
            self._actors.order(DEAD_CLIENT, "close", "unseen")
        for port in (_KEPT_PORT, _HANDED_PORT, _SENT_PORT):
            self._actors.order(SERVER, "close", f"clients {port}", "reset")
        self._actors.order(CALLER, "close", "parent", "reset")
        for name in (self._child if self._round % 2 else self._parent, self._sender, self._receiver):
            self._actors.end(name)

    def begin_clients(self) -> None:
        """Begin to run short-lived clients; finish_clients() waits for their end."""
        self._actors.begin(SPAWNER, "visit", _POOL_PORT, CLIENTS, SHORT_LIVED)
        self.short_lived += CLIENTS

    def finish_clients(self) -> None:
        self._actors.result(SPAWNER)
        self._actors.order(SERVER, "accept", f"listener {_POOL_PORT}", "short-lived", CLIENTS)
        self._actors.order(SERVER, "close", "short-lived")

    def held(self, command: str = "held") -> Held:
        return self._actors.held(command)

    def _connect(self, name: str, group: str, port: int, count: int) -> None:
        """Open connections from an actor to the server, which accepts them."""
        self._actors.order(name, "connect", group, port, count)
        self._actors.order(SERVER, "accept", f"listener {port}", f"clients {port}", count)

    def _add_closers(self, port: int, client: str, *servers: str) -> None:
        service = socket.inet_aton(HOST), port
        self.closers.clients.setdefault(service, set()).add(client)
        self.closers.servers.setdefault(service, set()).update(servers)
