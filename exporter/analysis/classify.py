"""How a socket is counted: which side opened it, whose it is, and how we know. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..model import (
    NO_HOLDER,
    STATE_NAMES,
    TIME_WAIT,
    Attribution,
    Direction,
    Group,
    Owner,
    Path,
    ProcessId,
    Socket,
    Unowned,
)
from .listening import Listeners
from .time_wait import Talkers


@dataclass(frozen=True, slots=True)
class Classifier:
    """Puts sockets into groups, from what is known at one moment.

    owner_of: holder -> owner. is_ephemeral: whether a local port is in the range of ephemeral ports.
    """

    listeners: Listeners
    talkers: Talkers
    owner_of: Callable[[int], Owner]
    is_ephemeral: Callable[[int], bool]

    def __call__(self, socket: Socket, before: Group | None) -> Group:
        """`before` is how the socket was counted in an earlier state, if it was seen.

        Once inbound, always inbound: a service that stops listening does not turn its connections round.
        Raises ValueError for a state that no TCP has: such a reading is garbage.
        """
        if socket.state not in STATE_NAMES:
            raise ValueError(f"no TCP state has the number {socket.state}")
        accepting = self.listeners.owner(socket.local_address, socket.local_port)
        path: Path | None = None
        attribution: Attribution | None = None
        if not socket.remote_port and not any(socket.remote_address):
            direction, port = Direction.NONE, socket.local_port
        elif before.direction is Direction.INBOUND if before else accepting is not None:
            direction, port = Direction.INBOUND, socket.local_port
        else:
            direction, port = Direction.OUTBOUND, socket.remote_port
            ephemeral = self.is_ephemeral(socket.local_port)
            path = Path(socket.local_address, socket.remote_address, ephemeral)
        if socket.state == TIME_WAIT:
            owner, attribution = self._past_owner(socket, before, accepting, direction)
        else:
            owner = self._owner(socket, before, accepting)
        return Group(socket.state, owner, direction, port, path, attribution)

    def _owner(self, socket: Socket, before: Group | None, accepting: Owner | None) -> Owner:
        """The holder; without one, who held it before; else whose accept queue it is in or came through."""
        if socket.holder != NO_HOLDER:
            return self.owner_of(socket.holder)
        if before and isinstance(before.owner, ProcessId):
            return before.owner
        return accepting or Unowned.RELEASED

    def _past_owner(
        self, socket: Socket, before: Group | None, accepting: Owner | None, direction: Direction
    ) -> tuple[Owner, Attribution]:
        """Who had a socket that is in TIME_WAIT, and how we know."""
        inbound = direction is Direction.INBOUND
        if inbound and isinstance(accepting, ProcessId):
            return accepting, Attribution.LISTENER
        if before and isinstance(before.owner, ProcessId):
            return before.owner, Attribution.OBSERVED
        if not inbound and (talker := self.talkers.only(socket.remote_address, socket.remote_port)):
            return talker, Attribution.INFERRED
        return (inbound and accepting) or Unowned.RELEASED, Attribution.NONE
