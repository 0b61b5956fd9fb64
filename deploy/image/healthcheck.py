"""The image's HEALTHCHECK: exit status 0 where the exporter of this container answers, 1 where it does not.

A check is not told with which flags its container was started. So it looks for the exporter among the
processes, with `--pid=host` those of the whole host, by its root directory, which is this container's alone,
and reads the addresses off its command line.
"""

from __future__ import annotations

import argparse
import re
import socket
import ssl
import struct
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from exporter.flags import DEFAULT_ADDRESS, EXPLAIN, NAME

HEALTHY: Final = 0
UNHEALTHY: Final = 1

REFUSED: Final = "TLS, and only for clients with a certificate"

_PATIENCE: Final = 3.0
_REQUEST: Final = b"GET /-/healthy HTTP/1.1\r\nHost: localhost\r\n\r\n"

# SO_LINGER: on, 0 seconds. The connection ends by RST, or each check would leave one in TIME_WAIT.
_NO_LINGER: Final = struct.pack("ii", 1, 0)


def main(arguments: Sequence[str]) -> int:
    """Looks below /proc, or the directory that is the one argument."""
    addresses = {
        address for flags in exporters(Path(*arguments or ("/proc",))) for address in listened(flags)
    }
    if not addresses:
        print(f"no {NAME} runs in this container")
        return UNHEALTHY
    told = {address: answer(address) for address in sorted(addresses)}
    print(*(f"{address}: {what}" for address, what in told.items()), sep="\n")
    return HEALTHY if all(map(alive, told.values())) else UNHEALTHY


def exporters(procfs: Path) -> Iterator[list[str]]:
    """The flags of each process of this container that is an exporter and not looking only once."""
    for process in procfs.glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
            ours = (process / "root").samefile("/")
        except OSError:  # another user's, or gone
            continue
        flags = after_command(words)
        if ours and flags is not None and flags[:1] != [EXPLAIN]:
            yield flags


def after_command(words: list[str]) -> list[str] | None:
    """What follows the exporter's name on a command line; None where that runs something else."""
    for start, word in enumerate(words[:3]):
        if Path(word).name == NAME or (word == "exporter" and words[start - 1 : start] == ["-m"]):
            return words[start + 1 :]
    return None


def listened(flags: list[str]) -> list[str]:
    """The addresses that the flags name, else the default one."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--web.listen-address", dest="addresses", action="append")
    return parser.parse_known_args(flags)[0].addresses or [DEFAULT_ADDRESS]


def answer(address: str) -> str:
    """What comes back: a status line, over HTTP or HTTPS; that a certificate is wanted; or the error."""
    try:
        try:
            with connected(address) as plain:
                return status_line(plain)
        except NotHttpError:
            return secured(address)
    except (OSError, ValueError) as error:
        return str(error)


def secured(address: str) -> str:
    """What is answered over TLS: the status line, or that it is spoken to others only."""
    try:
        with connected(address) as plain, any_certificate().wrap_socket(plain) as connection:
            try:
                return status_line(connection)
            except NotHttpError:  # after the handshake: it is by TLS 1.3 that clients are refused so late
                return REFUSED
    except ssl.SSLError as error:
        # By TLS 1.2 they are refused within the handshake, by an alert or without a word, as asyncio does.
        if isinstance(error, _ENDED) or "ALERT" in (error.reason or ""):
            return REFUSED
        raise


def any_certificate() -> ssl.SSLContext:
    """It is this container that we talk to: whose certificate it has does not matter."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


_ENDED: Final = (ssl.SSLEOFError, ssl.SSLZeroReturnError)
"""The other side closed, without a word or with one."""


class NotHttpError(OSError):
    """The other side closed, or said something else than HTTP."""


def connected(address: str) -> socket.socket:
    """A connection to a listen address; where that is every interface, to this host."""
    host, _, port = address.rpartition(":")
    connection = socket.create_connection((host.strip("[]") or "localhost", int(port)), _PATIENCE)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    return connection


def status_line(connection: socket.socket) -> str:
    """Asks for the exporter's health; raises NotHttpError where that is not understood."""
    connection.sendall(_REQUEST)
    try:
        line = connection.recv(4096).partition(b"\r\n")[0].decode("latin-1")
    except (ConnectionError, *_ENDED):
        line = ""
    if not line.startswith("HTTP/"):
        raise NotHttpError("no HTTP is spoken there")
    return line


def alive(told: str) -> bool:
    """Whether an answer tells of health, as one does that asks for a user, a certificate or patience."""
    return told == REFUSED or re.match(r"HTTP/\S+ (200|401|429)\b", told) is not None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
