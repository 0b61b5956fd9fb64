"""The stack of deploy/compose: its services, listen addresses and bind mounts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, Final, NamedTuple

from .rules import DEPLOY, document

COMPOSE: Final = DEPLOY / "compose" / "compose.yml"
HOME: Final = ("127.0.0.1", "localhost")

_ADDRESS: Final = re.compile(r"(?<![\w.])([\w.-]+|\[[\d:a-f]*\]|):(\d+)\b")

Service = dict[str, Any]


class Mount(NamedTuple):
    """A bind mount."""

    host: Path
    inside: PurePosixPath
    mode: str


def services() -> dict[str, Service]:
    """Return name -> service."""
    found: dict[str, Service] = document(COMPOSE)["services"]
    return found


def mounts(service: Service) -> Iterator[Mount]:
    """Return the bind mounts of a service, without named volumes."""
    for volume in service.get("volumes", ()):
        source, inside, *mode = volume.split(":")
        if source.startswith("."):
            yield Mount((COMPOSE.parent / source).resolve(), PurePosixPath(inside), ":".join(mode))


def on_host(service: Service, inside: str) -> Path | None:
    """Return the host's file at a path in a container; None if the path is not mounted."""
    for mount in mounts(service):
        if PurePosixPath(inside).is_relative_to(mount.inside):
            return mount.host / PurePosixPath(inside).relative_to(mount.inside)
    return None


def flag(service: Service, name: str) -> str:
    """Return the value of a flag of a service's command, which must occur once."""
    (value,) = [word.partition("=")[2] for word in service["command"] if word.startswith(f"{name}=")]
    return str(value)


def listens(service: Service) -> set[tuple[str, int]]:
    """Return the listen addresses of a service, from its flags, environment or only argument."""
    environment = service.get("environment", {})
    result = [
        word for word in service.get("command", ()) if "listen-address" in word or not word.startswith("-")
    ]
    if "GF_SERVER_HTTP_PORT" in environment:
        result.append(f"{environment['GF_SERVER_HTTP_ADDR']}:{environment['GF_SERVER_HTTP_PORT']}")
    return {address for word in result for address in addresses(word)}


def addresses(text: str) -> set[tuple[str, int]]:
    """Return every HOST:PORT in a text."""
    return {(host.strip("[]"), int(port)) for host, port in _ADDRESS.findall(text)}


def texts(value: object) -> Iterator[str]:
    """Yield all strings in a document, except keys."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from texts(each)
    elif isinstance(value, list):
        for each in value:
            yield from texts(each)
