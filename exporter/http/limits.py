"""Limits on what HTTP clients can use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """Limits on connections, requests, responses and password checks. Units: seconds and bytes."""

    max_connections: int = 512
    """Open connections; see ConnectionLimiter for what happens above."""
    backlog: int = 128
    """Connections that the kernel completes before they are accepted (listen(2))."""
    accept_retry_interval: float = 1
    """Before the next accept() where one has failed, as without a free file descriptor."""

    request_timeout: float = 10
    """From accept, or from the first byte of a later request, to the last byte of the request. The TLS
    handshake is part of the first request."""
    write_timeout: float = 30
    """For the client to take the whole of a response."""
    keep_alive_timeout: float = 310
    """Between two requests. Longer than the 5 minutes after which Prometheus closes an idle connection: the
    side that closes first is the side that keeps the TIME_WAIT."""
    shutdown_timeout: float = 15
    """For the responses in progress when the server is told to stop."""
    tls_alert_timeout: float = 1
    """For a client to read why its TLS handshake was refused, and to close; part of request_timeout."""

    max_header_bytes: int = 16_384
    """Request line and headers; each chunk header, and the trailers, of a request body."""
    max_body_bytes: int = 1_048_576
    """Request body, which is discarded."""
    read_size: int = 16_384
    """Read from a socket at a time. A TLS record holds at most 16 KiB."""
    write_size: int = 8_192
    """Encrypted at a time. OpenSSL keeps a third more as a buffer for each TLS connection: an idle one takes
    45 KiB with pieces of 16 KiB, 34 with 8, and 28 with 4, which double the system calls of 8."""

    max_scrape_wait: float = 60
    """For a collection or a status page, where the client sets no shorter timeout. Bounds the number of
    requests that accumulate while a collection hangs."""
    max_partial_age: float = 5
    """Between the beginning of a collection and the request that gets a part of its result. A collection that
    hangs must not serve for ever what it found at its beginning."""
    scrape_recovery_time: float = 60
    """Without partial responses, before the log reports that scrapes complete in time again: of two scrapers
    one can have a longer timeout than the other."""

    auth_cache_size: int = 100
    """Cached results of password checks, for correct and for wrong passwords each."""
    max_pending_auth: int = 32
    """Requests that wait for bcrypt: about two seconds of work at its usual cost of 10."""


DEFAULT_LIMITS: Final = ServerLimits()
