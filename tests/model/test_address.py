"""IP addresses as bytes and as text."""

from __future__ import annotations

import pytest

from exporter.model.address import format_address, is_loopback, is_same_host, parse_address, unmap_ipv4

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


@pytest.mark.parametrize("text", ["127.0.0.1", "127.8.9.1", "::1", "::ffff:127.0.0.1"])
def test_loopback_addresses(text: str) -> None:
    assert is_loopback(parse_address(text))


@pytest.mark.parametrize("text", ["128.0.0.1", "0.0.0.0", "::", "::2", "10.0.0.1", "7f00::1"])
def test_other_addresses_are_no_loopback(text: str) -> None:
    assert not is_loopback(parse_address(text))


@pytest.mark.parametrize(
    ("local", "remote", "expected"),
    [
        ("127.0.0.1", "127.0.0.2", True),
        ("10.0.0.1", "10.0.0.1", True),
        ("fd00::1", "fd00::1", True),
        ("10.0.0.1", "10.0.0.2", False),
    ],
)
def test_both_ends_are_on_this_host_if_that_is_certain(local: str, remote: str, expected: bool) -> None:
    assert is_same_host(parse_address(local), parse_address(remote)) is expected
