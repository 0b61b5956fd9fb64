"""Classification of sockets into groups: direction of the connection, owner, and method of attribution."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from itertools import repeat
from typing import Final, cast

from ..model.groups import AddressPair, Attribution, Direction, SocketGroup
from ..model.host import EphemeralRange
from ..model.process import Owner, ProcessId, Unowned
from ..model.sockets import (
    CLOSE_WAIT,
    ESTABLISHED,
    NO_OWNER_KEY,
    STATE_NAMES,
    SYN_RECV,
    SYN_SENT,
    TIME_WAIT,
    Socket,
    SocketTable,
)
from .destinations import DestinationOwners
from .listeners import ListenerTable
from .port_roles import IS_INBOUND, PortRoles

# States of a socket without an owner that only an accept queue explains: closing it ends them.
_QUEUED_STATES: Final = frozenset({ESTABLISHED, CLOSE_WAIT})
_UNACCEPTED_STATES: Final = _QUEUED_STATES | {SYN_RECV}

# Number of signatures above which they are not kept for the next collection.
_MAX_SIGNATURES: Final = 4_096
# These attributions depend on the connections that currently exist.
_VOLATILE: Final = (Attribution.INFERRED, Attribution.NONE)


class Classifier:
    """Returns the group of a socket. To be replaced when listeners or the ephemeral range change."""

    def __init__(
        self,
        listeners: ListenerTable,
        destinations: DestinationOwners,
        owner_of: Callable[[int], Owner],
        ephemeral: EphemeralRange | None,
    ) -> None:
        """Prepare the first collection.

        owner_of: owner key -> owner. ephemeral: range of ephemeral ports; None if unknown.
        """
        self._listeners = listeners
        self._destinations = destinations
        self._owner_of = owner_of
        self._ephemeral = ephemeral
        self._port_roles = PortRoles(ephemeral, listeners.ports)
        self._ids: dict[Hashable, int] = {}
        self._volatile_signatures: list[Hashable] = []
        # Signatures contain the id() of these objects, which must not be reused for others.
        self._keep_alive: list[tuple[Owner, SocketGroup | None]] = []

    def begin(self, owner_of: Callable[[int], Owner]) -> None:
        """Begin another collection. owner_of: owner key -> owner, as resolved by now."""
        self._owner_of = owner_of
        self._port_roles.begin()
        for signature in self._volatile_signatures:
            del self._ids[signature]
        self._volatile_signatures.clear()
        if len(self._ids) > _MAX_SIGNATURES:
            self._ids.clear()
            self._keep_alive.clear()

    def learn_ports(self, tables: Iterable[SocketTable]) -> None:
        """Learn which local ports are services' from all sockets that are to be classified."""
        self._port_roles.learn(tables)

    def __call__(self, socket: Socket, previous: SocketGroup | None) -> SocketGroup:
        """Return the group of a socket. previous: its group when last counted, in any state.

        An inbound connection stays inbound when its listener is closed. Raises ValueError for a state that
        TCP does not have, since the dump is then malformed.
        """
        if socket.state not in STATE_NAMES:
            raise ValueError(f"no TCP state has the number {socket.state}")
        listener_owner = self._listeners.owner(socket.local_address, socket.local_port)
        addresses: AddressPair | None = None
        attribution: Attribution | None = None
        if not socket.remote_port and not any(socket.remote_address):
            direction, port = Direction.NONE, socket.local_port
        elif self._is_inbound(socket, previous, listener_owner):
            direction, port = Direction.INBOUND, socket.local_port
        else:
            direction, port = Direction.OUTBOUND, socket.remote_port
            ephemeral = self._ephemeral is not None and self._ephemeral.contains(socket.local_port)
            addresses = AddressPair(socket.local_address, socket.remote_address, ephemeral)
        if socket.state == TIME_WAIT:
            owner, attribution = self._time_wait_owner(socket, previous, listener_owner, direction)
        else:
            owner = self._owner(socket, previous, listener_owner, direction)
        return SocketGroup(socket.state, owner, direction, port, addresses, attribution)

    def _is_inbound(self, socket: Socket, previous: SocketGroup | None, listener_owner: Owner | None) -> bool:
        """Return whether the peer initiated the connection, as far as that can be told."""
        if previous:
            return previous.direction is Direction.INBOUND
        if listener_owner is not None:
            return True
        if _is_unaccepted(socket):
            return True
        if socket.state == SYN_SENT:
            return False
        return self._port_roles.is_service(socket.local_port, socket.remote_port)

    def group_ids(
        self, table: SocketTable, previous: Sequence[SocketGroup | None], id_of: Callable[[SocketGroup], int]
    ) -> list[int]:
        """Return the id of each socket's group.

        Only one socket of each signature is classified by Python code, all else runs in C: the first
        collection may have 100,000 sockets.

        previous: group of each socket when last counted; empty if none has been counted before.
        id_of: group -> its id; the same function in every call.
        """
        signatures = list(self._signatures(table, previous))
        ids = list(map(self._ids.get, signatures))
        if None in ids:
            positions = [position for position, group_id in enumerate(ids) if group_id is None]
            unknown = [signatures[position] for position in positions]
            self._learn(dict(zip(unknown, positions, strict=True)), table, previous, id_of)
            for position, group_id in zip(positions, map(self._ids.get, unknown), strict=True):
                ids[position] = group_id
        if None in ids:
            positions = [position for position, group_id in enumerate(ids) if group_id is None]
            sockets = _select(table, previous, positions)
            for position, (socket, group) in zip(positions, sockets, strict=True):
                ids[position] = id_of(self(socket, group))
        return cast(list[int], ids)

    def _signatures(self, table: SocketTable, previous: Sequence[SocketGroup | None]) -> Iterable[Hashable]:
        """Return a signature of each socket. Equal signatures mean the same group, except as in _learn()."""
        roles = self._port_roles.roles(table.local_ports(), table.remote_ports())
        columns: list[Iterable[Hashable]] = [roles, _endpoint_signatures(table, roles)]
        owner_keys = table.owner_keys()
        if any(owner_keys):
            columns.append(map(id, map(self._owner_of, owner_keys)))
        if previous:
            columns.append(map(id, previous))
        return zip(*columns, strict=True)

    def _learn(
        self,
        positions: Mapping[Hashable, int],
        table: SocketTable,
        previous: Sequence[SocketGroup | None],
        id_of: Callable[[SocketGroup], int],
    ) -> None:
        """Store the group ids of signatures that determine the group.

        A signature contains the local port if the ports suggest an inbound connection, otherwise the
        destination. It does not determine the group if the socket has another direction.

        positions: signature -> position of one socket that has it.
        """
        sockets = _select(table, previous, list(positions.values()))
        for signature, (socket, previous_group) in zip(positions, sockets, strict=True):
            group = self(socket, previous_group)
            if group.direction is self._port_roles.expected(socket.local_port, socket.remote_port):
                self._ids[signature] = id_of(group)
                # The accept queues that hold sockets change as well.
                if group.attribution in _VOLATILE or _is_unaccepted(socket):
                    self._volatile_signatures.append(signature)
                self._keep_alive.append((self._owner_of(socket.owner_key), previous_group))

    def _owner(
        self, socket: Socket, previous: SocketGroup | None, listener_owner: Owner | None, direction: Direction
    ) -> Owner:
        """Return the owner by owner key; without one by accept queue, previous group or listener."""
        if socket.owner_key != NO_OWNER_KEY:
            return self._owner_of(socket.owner_key)
        if direction is Direction.INBOUND and socket.state in _QUEUED_STATES:
            queue_owner = self._listeners.queue_owner(
                socket.local_address, socket.local_port, previous.owner if previous else None
            )
            if queue_owner is not None:
                return queue_owner
            # Not the previous owner: another process may hold the listener, with its queue, by now.
            if isinstance(listener_owner, ProcessId):
                return listener_owner
        if previous and isinstance(previous.owner, ProcessId):
            return previous.owner
        return (direction is Direction.INBOUND and listener_owner) or Unowned.RELEASED

    def _time_wait_owner(
        self, socket: Socket, previous: SocketGroup | None, listener_owner: Owner | None, direction: Direction
    ) -> tuple[Owner, Attribution]:
        """Return the former owner of a socket in TIME_WAIT, and the method by which it was found."""
        inbound = direction is Direction.INBOUND
        if inbound and isinstance(listener_owner, ProcessId):
            return listener_owner, Attribution.LISTENER
        if previous and isinstance(previous.owner, ProcessId):
            return previous.owner, Attribution.OBSERVED
        was_hidden = previous and previous.owner is Unowned.NOT_FOUND
        if not (inbound or was_hidden) and (
            owner := self._destinations.probable_owner(socket.remote_address, socket.remote_port)
        ):
            return owner, Attribution.INFERRED
        return (inbound and listener_owner) or Unowned.RELEASED, Attribution.NONE


def _is_unaccepted(socket: Socket) -> bool:
    return socket.owner_key == NO_OWNER_KEY and socket.state in _UNACCEPTED_STATES


class ClassifierCache:
    """Cache of the classifier, which is replaced when something that it was built from has changed."""

    def __init__(self, listeners: ListenerTable, destinations: DestinationOwners) -> None:
        self._listeners = listeners
        self._destinations = destinations
        self._classifier: Classifier | None = None
        self._inputs: tuple[object, ...] = ()

    def get(
        self, owner_of: Callable[[int], Owner], ephemeral: EphemeralRange | None, id_version: object
    ) -> Classifier:
        """Return the classifier for a collection. id_version: changes when groups get other ids."""
        inputs = self._listeners.version, ephemeral, id_version
        if self._classifier is None or inputs != self._inputs:
            self._classifier = Classifier(self._listeners, self._destinations, owner_of, ephemeral)
            self._inputs = inputs
        self._classifier.begin(owner_of)
        return self._classifier


def _endpoint_signatures(table: SocketTable, roles: Sequence[int]) -> list[Hashable]:
    """Return the part of each socket's signature that depends on the roles of its ports."""
    is_inbound = map(IS_INBOUND.__getitem__, roles)
    columns = zip(is_inbound, table.inbound_signatures(), table.outbound_signatures(), strict=True)
    return [inbound if flag else outbound for flag, inbound, outbound in columns]


def _select(
    table: SocketTable, previous: Sequence[SocketGroup | None], positions: Sequence[int]
) -> Iterator[tuple[Socket, SocketGroup | None]]:
    """Return the sockets at these positions and their previous groups."""
    groups = [previous[position] for position in positions] if previous else repeat(None)
    return zip(table.select(positions), groups, strict=False)
