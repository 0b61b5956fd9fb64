"""Kernels that refuse requests, and kernels with canned replies."""

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
    """A kernel without the compat request: a request that is really refused is sent instead."""

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
    """A kernel with canned replies, by the requested states."""

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
