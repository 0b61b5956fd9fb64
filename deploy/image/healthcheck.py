"""HEALTHCHECK of the image: exit status 0 if the exporter of this container is healthy, 1 if it is not.

A health check does not know the flags of its container. So it finds the exporter in /proc by its root
directory, which is unique to this container even with `--pid=host`, and reads the listen addresses from its
command line.
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

CERTIFICATE_REQUIRED: Final = "TLS, client certificate required"

_TIMEOUT_SECONDS: Final = 3.0
_REQUEST: Final = b"GET /-/healthy HTTP/1.1\r\nHost: localhost\r\n\r\n"

# SO_LINGER with 0 seconds closes by RST: otherwise each check would leave a socket in TIME_WAIT.
_LINGER_ZERO: Final = struct.pack("ii", 1, 0)


def main(arguments: Sequence[str]) -> int:
    """Check the exporters found in /proc, or in the directory given as the only argument."""
    addresses = {
        address
        for flags in find_exporters(Path(*arguments or ("/proc",)))
        for address in listen_addresses(flags)
    }
    if not addresses:
        print(f"no {NAME} is running in this container")
        return UNHEALTHY
    results = {address: probe(address) for address in sorted(addresses)}
    print(*(f"{address}: {result}" for address, result in results.items()), sep="\n")
    return HEALTHY if all(map(is_healthy, results.values())) else UNHEALTHY


def find_exporters(procfs: Path) -> Iterator[list[str]]:
    """Yield the flags of each exporter process of this container, except the subcommand `explain`."""
    for process in procfs.glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
            in_this_container = (process / "root").samefile("/")
        except OSError:  # not permitted, or the process has exited
            continue
        flags = flags_of(words)
        if in_this_container and flags is not None and flags[:1] != [EXPLAIN]:
            yield flags


def flags_of(words: list[str]) -> list[str] | None:
    """Return the arguments of an exporter's command line, or None for another program."""
    for start, word in enumerate(words[:3]):
        if Path(word).name == NAME or (word == "exporter" and words[start - 1 : start] == ["-m"]):
            return words[start + 1 :]
    return None


def listen_addresses(flags: list[str]) -> list[str]:
    """Return the listen addresses in the flags, or the default address."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--web.listen-address", dest="addresses", action="append")
    return parser.parse_known_args(flags)[0].addresses or [DEFAULT_ADDRESS]


def probe(address: str) -> str:
    """Return the status line over HTTP or HTTPS, CERTIFICATE_REQUIRED, or the error."""
    try:
        try:
            with connect(address) as plain:
                return request_health(plain)
        except NotHttpError:
            return probe_tls(address)
    except (OSError, ValueError) as error:
        return str(error)


def probe_tls(address: str) -> str:
    """Return the status line over HTTPS, or CERTIFICATE_REQUIRED."""
    try:
        with connect(address) as plain, unverified_context().wrap_socket(plain) as connection:
            try:
                return request_health(connection)
            except NotHttpError:  # TLS 1.3 rejects a client without certificate after the client's handshake
                return CERTIFICATE_REQUIRED
    except ssl.SSLError as error:
        # TLS 1.2 rejects it within the handshake, with an alert or by closing the connection.
        if isinstance(error, _CLOSED) or "ALERT" in (error.reason or ""):
            return CERTIFICATE_REQUIRED
        raise


def unverified_context() -> ssl.SSLContext:
    """Return a context that accepts any certificate: the server is in this container."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


_CLOSED: Final = (ssl.SSLEOFError, ssl.SSLZeroReturnError)
"""The server closed the connection, without or with close_notify."""


class NotHttpError(OSError):
    """The server closed the connection or did not send an HTTP response."""


def connect(address: str) -> socket.socket:
    """Return a connection to a listen address; to localhost if it has no host part."""
    host, _, port = address.rpartition(":")
    connection = socket.create_connection((host.strip("[]") or "localhost", int(port)), _TIMEOUT_SECONDS)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
    return connection


def request_health(connection: socket.socket) -> str:
    """Request /-/healthy and return the status line.

    Raises:
        NotHttpError: the response is not HTTP.
    """
    connection.sendall(_REQUEST)
    try:
        line = connection.recv(4096).partition(b"\r\n")[0].decode("latin-1")
    except (ConnectionError, *_CLOSED):
        line = ""
    if not line.startswith("HTTP/"):
        raise NotHttpError("not an HTTP response")
    return line


def is_healthy(result: str) -> bool:
    """Return whether the exporter responds, even if only to request credentials or a lower rate."""
    return result == CERTIFICATE_REQUIRED or re.match(r"HTTP/\S+ (200|401|429)\b", result) is not None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
