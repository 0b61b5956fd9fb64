"""IP addresses as bytes and as text."""

from __future__ import annotations

import pytest

from exporter.model.address import format_address, parse_address, unmap_ipv4

LOOPBACK = bytes((127, 0, 0, 1))
LOOPBACK6 = bytes(15) + b"\1"


@pytest.mark.parametrize(
    ("text", "raw"),
    [
        ("127.0.0.1", LOOPBACK),
        ("0.0.0.0", bytes(4)),
        ("255.255.255.255", b"\xff" * 4),
        ("::", bytes(16)),
        ("::1", LOOPBACK6),
        ("::1%lo0", LOOPBACK6),
        ("fe80::1%eth0", bytes.fromhex("fe80") + bytes(13) + b"\1"),
        ("fe80::1%12", bytes.fromhex("fe80") + bytes(13) + b"\1"),
        ("::ffff:127.0.0.1", LOOPBACK),
        ("::ffff:7f00:1", LOOPBACK),
        ("::127.0.0.1", bytes(12) + LOOPBACK),
        ("2001:db8::ffff:1.2.3.4", bytes.fromhex("20010db8") + bytes(6) + b"\xff\xff\1\2\3\4"),
    ],
)
def test_text_becomes_4_or_16_bytes_without_the_scope(text: str, raw: bytes) -> None:
    assert parse_address(text) == raw


@pytest.mark.parametrize(
    ("raw", "text"),
    [(LOOPBACK, "127.0.0.1"), (LOOPBACK6, "::1"), (bytes(16), "::"), (bytes(4), "0.0.0.0")],
)
def test_bytes_become_text(raw: bytes, text: str) -> None:
    assert format_address(raw) == text


def test_only_ipv4_mapped_addresses_are_unmapped() -> None:
    assert unmap_ipv4(bytes(10) + b"\xff\xff" + LOOPBACK) == LOOPBACK
    assert unmap_ipv4(LOOPBACK6) == LOOPBACK6
    assert unmap_ipv4(LOOPBACK) == LOOPBACK
