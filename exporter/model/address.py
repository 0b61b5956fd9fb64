"""IP addresses as bytes, 4 (IPv4) or 16 (IPv6): conversion from and to text, IPv4-mapped addresses."""

from __future__ import annotations

import socket
from typing import Final

IPV4_MAPPED_PREFIX: Final = bytes(10) + b"\xff\xff"
"""First 12 bytes of `::ffff:a.b.c.d` (RFC 4291, 2.5.5.2)."""
_LOOPBACK_NET: Final = 127
_LOOPBACK_IPV6: Final = bytes(15) + b"\x01"


def format_address(address: bytes) -> str:
    """Return an address of 4 or 16 bytes as text."""
    return socket.inet_ntop(socket.AF_INET if len(address) == 4 else socket.AF_INET6, address)


def parse_address(text: str) -> bytes:
    """Return the 4 or 16 bytes of an address, without its scope; `::ffff:a.b.c.d` is IPv4. Raises OSError."""
    if ":" not in text:
        return socket.inet_pton(socket.AF_INET, text)
    return unmap_ipv4(socket.inet_pton(socket.AF_INET6, text.partition("%")[0]))


def is_loopback(address: bytes) -> bool:
    """Return whether an address of 4 or 16 bytes is in 127.0.0.0/8, or is ::1."""
    return address[0] == _LOOPBACK_NET if len(address) == 4 else address == _LOOPBACK_IPV6


def is_same_host(local_address: bytes, remote_address: bytes) -> bool:
    """Return whether both ends of a connection are certainly in this network namespace.

    Of two different addresses of one host the kernel does not tell: connect() to an address of this host
    uses that address as the source, unless the program binds to another one.
    """
    return local_address == remote_address or (is_loopback(local_address) and is_loopback(remote_address))


def unmap_ipv4(address: bytes) -> bytes:
    """Return the 4 bytes of an IPv4-mapped address, and any other address unchanged."""
    return address[12:] if address.startswith(IPV4_MAPPED_PREFIX) else address
