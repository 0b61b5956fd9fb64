"""The default limits of the server that are documented, and that clients rely on."""

from __future__ import annotations

from dataclasses import asdict

from exporter.http.limits import DEFAULT_LIMITS


def test_default_limits() -> None:
    documented = {
        "max_connections": 512,
        "request_timeout": 10,
        "write_timeout": 30,
        "keep_alive_timeout": 310,
        "shutdown_timeout": 15,
        "max_header_bytes": 16_384,
        "max_body_bytes": 1_048_576,
        "max_scrape_wait": 60,
        "max_partial_age": 5,
        "scrape_recovery_time": 60,
        "auth_cache_size": 100,
        "max_pending_auth": 32,
    }
    assert documented.items() <= asdict(DEFAULT_LIMITS).items()
