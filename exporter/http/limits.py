"""Limits on what HTTP clients can use."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """Limits on connections, requests, responses and password checks. Times are in seconds, sizes in bytes."""

    max_connections: int = 512
    """Open connections; see ConnectionLimiter for what happens above."""
    backlog: int = 128
    """Connections that the kernel completes before they are accepted (listen(2)); accepted in one go at most."""

    request_timeout: float = 10
    """From accept, or from the first byte of a later request, to the last byte of the request. The TLS
    handshake is part of the first request."""
    write_timeout: float = 30
    """For the client to take what has been written to it."""
    keep_alive_timeout: float = 310
    """Between two requests. Longer than the 5 minutes after which Prometheus closes an idle connection: the
    side that closes first is the side that keeps the TIME_WAIT."""
    shutdown_timeout: float = 15
    """For the responses in progress when the server is told to stop."""
    tls_alert_timeout: float = 1
    """For a client to read the alert that refuses its TLS handshake, before its connection is reset."""
    tls_shutdown_timeout: float = 5
    """For a client to confirm the end of TLS."""

    max_header_bytes: int = 65_536
    """Request line and headers of a request; chunk headers and trailers of its body."""
    read_size: int = 16_384
    """Read from a connection at a time. TLS records are of 16 KiB at most."""
    write_size: int = 65_536
    """Written to a connection at a time: the most memory that a client costs that does not read."""

    max_scrape_wait: float = 60
    """For a collection or a status page, where the client sets no shorter timeout. Bounds the number of
    requests that gather while a collection hangs."""

    auth_cache_size: int = 100
    """Cached results of password checks, for correct and for wrong passwords each."""
    max_pending_auth: int = 32
    """Requests that wait for bcrypt: about two seconds of work at its usual cost of 10."""


DEFAULT_LIMITS = ServerLimits()
