"""How many ephemeral ports are used up, towards one destination and on one local address. Pure.

connect() may take the same local port for different destinations: the limit holds for each source
address, destination address and destination port (inet_hash_connect in net/ipv4/inet_hashtables.c).
bind() to port 0 shares nothing: there the limit holds for the local address.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from ..model import Direction, Group, Listener, Socket


class Destination(NamedTuple):
    """Where connections lead, and how many ports its worst source address uses towards it."""

    remote_address: bytes
    remote_port: int
    used: int


def destinations(groups: Mapping[Group, int]) -> list[Destination]:
    """All destinations, the fullest first. The ports of one path are distinct, since the kernel tells
    connections apart by them: counting sockets counts ports."""
    used: Counter[tuple[bytes, bytes, int]] = Counter()
    for group, count in groups.items():
        if group.path is not None and group.path.ephemeral:
            used[group.path.local_address, group.path.remote_address, group.port] += count
    worst: dict[tuple[bytes, int], int] = {}
    for (_, address, port), count in used.items():
        worst[address, port] = max(count, worst.get((address, port), 0))
    found = [Destination(address, port, count) for (address, port), count in worst.items()]
    return sorted(found, key=lambda each: (-each.used, each))


def ports_lost(
    groups: Mapping[Group, int], listeners: Iterable[Listener], is_ephemeral: Callable[[int], bool]
) -> int:
    """Ephemeral ports that no connect() gets, because somebody listens on them or has bound them.

    Connections that a listener accepted keep its port bound, also when it is gone.
    """
    bound = {group.port for group in groups if group.direction is not Direction.OUTBOUND}
    listening = {listener.local_port for listener in listeners}
    return sum(map(is_ephemeral, bound | listening))


def most_on_one_address(
    sockets: Iterable[Socket], listeners: Iterable[Listener], is_ephemeral: Callable[[int], bool]
) -> int:
    """Distinct ephemeral ports taken on the fullest local address, by whatever sockets.

    What is bound to all addresses (0.0.0.0 or ::) takes its port on every one of them.
    """
    taken: defaultdict[bytes, set[int]] = defaultdict(set)
    for socket in sockets:
        taken[socket.local_address].add(socket.local_port)
    for listener in listeners:
        taken[listener.local_address].add(listener.local_port)
    everywhere = {port for anywhere in (bytes(4), bytes(16), b"") for port in taken.pop(anywhere, ())}
    counts = [sum(map(is_ephemeral, ports | everywhere)) for ports in taken.values()]
    return max(counts, default=sum(map(is_ephemeral, everywhere)))
