"""Kernels that refuse, and kernels that answer what they are told to."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from exporter.model.sockets import SocketBatch
from exporter.netlink.source import NetlinkSource
from exporter.netlink.transport import SockDiagClient, dump_request

from .messages import GETSOCK, done

UNKNOWN_FAMILY: Final = dump_request(255, 0)
NO_FAMILY: Final = dump_request(0, 0)


class Refusing(SockDiagClient):
    """A kernel that does not know the older request: what is sent instead is refused for real."""

    def __init__(self, instead: bytes = UNKNOWN_FAMILY) -> None:
        super().__init__()
        self._instead = instead
        self.older = 0

    def dump(self, request: bytes, *, prefetch: bool = False) -> Iterator[bytes]:
        if struct.unpack_from("=H", request, 4) == (GETSOCK,):
            self.older += 1
            return super().dump(self._instead, prefetch=prefetch)
        return super().dump(request, prefetch=prefetch)


class Canned(SockDiagClient):
    """A kernel that answers with what it is told to, by the states asked for."""

    def __init__(self, answers: dict[int, list[bytes]]) -> None:
        super().__init__()
        self.answers = answers
        self.asked: list[int] = []

    def dump(self, request: bytes, **_: bool) -> Iterator[bytes]:
        (states,) = struct.unpack_from("=I", request, 16 + 52)
        self.asked.append(states)
        yield from self.answers.get(states, [done()])


def everything(source: NetlinkSource) -> Iterator[SocketBatch]:
    """All sockets but listeners."""
    yield from source.full_sockets()
    yield from source.minisocks()
