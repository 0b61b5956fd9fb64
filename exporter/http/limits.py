"""Limits on HTTP clients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """Limits on connections, requests, responses and password checks. Times are in seconds."""

    max_connections: int = 512
    """Maximum number of open connections; see ConnectionLimiter for what happens above."""
    backlog: int = 128
    """Maximum length of the accept queue of each listener (listen(2))."""
    accept_retry_interval: float = 1
    """Time before the next accept() after a failed one, such as without a free file descriptor."""

    request_timeout: float = 10
    """Time from accept(), or from the first byte of a later request, to the last byte of the request. The TLS
    handshake is part of the first request."""
    write_timeout: float = 30
    """Time for the client to receive a whole response."""
    keep_alive_timeout: float = 310
    """Time between two requests. Longer than the 5 minutes after which Prometheus closes an idle connection:
    the side that closes first gets the TIME_WAIT."""
    shutdown_timeout: float = 15
    """Time for the responses in progress when the server stops."""
    tls_alert_timeout: float = 1
    """Time for a client to read the alert of a failed TLS handshake and to close; part of request_timeout."""

    max_header_bytes: int = 16_384
    """Maximum size of request line and headers, and of each chunk header and the trailers of a request
    body."""
    max_body_bytes: int = 1_048_576
    """Maximum size of a request body, which is discarded."""
    read_chunk_bytes: int = 16_384
    """Bytes to read from a socket at a time. A TLS record has at most 16 KiB."""
    write_chunk_bytes: int = 8_192
    """Bytes to encrypt at a time. OpenSSL keeps a buffer of this size and a third more for each TLS
    connection: an idle one takes 45 KiB with 16 KiB, 34 KiB with 8 KiB, and 28 KiB with 4 KiB, which doubles
    the system calls."""

    max_scrape_wait: float = 60
    """Time to wait for a collection or a status page, unless the client sets a shorter timeout. Limits the
    number of requests that accumulate while a collection hangs."""
    max_partial_age: float = 5
    """Maximum time from the start of a collection to a request that gets a partial response from it. The
    first results of a collection that hangs must not be served for ever."""
    scrape_recovery_time: float = 60
    """Time without partial responses before the log reports that scrapes complete in time again. Of two
    scrapers one may have a longer timeout than the other."""

    auth_cache_size: int = 100
    """Maximum number of cached results of password checks, for correct and for wrong passwords each."""
    max_pending_auth: int = 32
    """Maximum number of requests that wait for bcrypt: about two seconds of work at the usual cost of 10."""


DEFAULT_LIMITS: Final = ServerLimits()
