"""Kernels that refuse, and kernels that answer what they are told to."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from exporter.model.sockets import SocketBatch
from exporter.netlink.source import KernelSource
from exporter.netlink.transport import Transport, request_one_family

from .messages import GETSOCK, done

UNKNOWN_FAMILY: Final = request_one_family(255, 0)
NO_FAMILY: Final = request_one_family(0, 0)


class Refusing(Transport):
    """A kernel that does not know the older request: what is sent instead is refused for real."""

    def __init__(self, instead: bytes = UNKNOWN_FAMILY) -> None:
        super().__init__()
        self._instead = instead
        self.older = 0

    def exchange(self, request: bytes, *, at_once: bool = False) -> Iterator[bytes]:
        if struct.unpack_from("=H", request, 4) == (GETSOCK,):
            self.older += 1
            return super().exchange(self._instead, at_once=at_once)
        return super().exchange(request, at_once=at_once)


class Canned(Transport):
    """A kernel that answers with what it is told to, by the states asked for."""

    def __init__(self, answers: dict[int, list[bytes]]) -> None:
        super().__init__()
        self.answers = answers
        self.asked: list[int] = []

    def exchange(self, request: bytes, **_: bool) -> Iterator[bytes]:
        (states,) = struct.unpack_from("=I", request, 16 + 52)
        self.asked.append(states)
        yield from self.answers.get(states, [done()])


def everything(source: KernelSource) -> Iterator[SocketBatch]:
    """All sockets but listeners."""
    yield from source.sockets()
    yield from source.rest()
