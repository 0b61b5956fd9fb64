"""Configuration file of --web.config.file, in exporter-toolkit's schema (its docs/web-configuration.md).

Settings that Python's ssl module or this server cannot provide are refused, not ignored.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, ClassVar, Final

import msgspec

from .strict_yaml import format_key, parse_config, read_text

CLIENT_AUTH_TYPES: Final = ("NoClientCert", "VerifyClientCertIfGiven", "RequireAndVerifyClientCert")
"""Supported client authentication policies of Go's crypto/tls."""

_UNVERIFIED_CLIENT_AUTH_TYPES: Final = ("RequestClientCert", "RequireAnyClientCert", "RequireClientCert")
"""Policies that accept any certificate. The last two are the same: exporter-toolkit has renamed it."""

_TLS_VERSIONS: Final = ("TLS12", "TLS13")
_DEPRECATED_TLS_VERSIONS: Final = ("TLS10", "TLS11")

HEADERS: Final[Mapping[str, tuple[str, ...]]] = {
    "Content-Security-Policy": (),
    "Strict-Transport-Security": (),
    "X-Content-Type-Options": ("nosniff",),
    "X-Frame-Options": ("deny", "sameorigin"),
    "X-XSS-Protection": (),
}
"""Response header that can be set -> allowed values; empty if any value is allowed."""

_UNIT_SECONDS: Final = {
    "ns": 1e-9,
    "us": 1e-6,
    "µs": 1e-6,
    "μs": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "m": 60.0,
    "h": 3600.0,
}
_DURATION_PART: Final = re.compile(rf"(\d+(?:\.\d*)?|\.\d+)({'|'.join(_UNIT_SECONDS)})")


class TlsServerConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`tls_server_config`. Paths are relative to the directory of the configuration file."""

    UNSUPPORTED_KEYS: ClassVar[Mapping[str, str]] = {
        "cipher_suites": "not supported: OpenSSL has other names; leave it out for OpenSSL's defaults",
        "curve_preferences": "not supported by Python's ssl module; leave it out for OpenSSL's defaults",
        "prefer_server_cipher_suites": "has no effect, as in Go since 1.17; leave it out",
    }

    cert: str | None = None
    cert_file: str | None = None
    key: str | None = None
    key_file: str | None = None
    client_ca: str | None = None
    client_ca_file: str | None = None
    client_auth_type: str | None = None
    client_allowed_sans: tuple[str, ...] | None = None
    min_version: str | None = None
    max_version: str | None = None

    def __post_init__(self) -> None:
        for name in ("cert", "key", "client_ca"):
            inline, file = getattr(self, name), getattr(self, f"{name}_file")
            if inline and file:
                raise ValueError(f"{name}: give either {name} or {name}_file")
            if not inline and not file and name != "client_ca":
                raise ValueError(f"{name}_file: missing (or {name}, with the PEM text itself)")
        self._check_client_auth()
        for name in ("min_version", "max_version"):
            _check_tls_version(name, getattr(self, name))
        if self.min_tls_version > self.max_tls_version:
            raise ValueError(
                f"max_version: {self.max_tls_version} is below min_version {self.min_tls_version}"
            )

    def _check_client_auth(self) -> None:
        if self.policy in _UNVERIFIED_CLIENT_AUTH_TYPES:
            raise ValueError(
                f"client_auth_type: {self.policy} accepts any certificate without verifying it, which "
                "Python's ssl module cannot do; use RequireAndVerifyClientCert or VerifyClientCertIfGiven"
            )
        if self.policy not in CLIENT_AUTH_TYPES:
            raise ValueError(f"client_auth_type: expected one of {', '.join(CLIENT_AUTH_TYPES)}")
        if (self.client_ca or self.client_ca_file) and self.policy == "NoClientCert":
            raise ValueError("client_auth_type: missing; with a client CA, use RequireAndVerifyClientCert")
        if self.client_allowed_sans is not None and self.policy != "RequireAndVerifyClientCert":
            raise ValueError("client_allowed_sans: needs client_auth_type RequireAndVerifyClientCert")

    @property
    def policy(self) -> str:
        """Client authentication policy, one of CLIENT_AUTH_TYPES."""
        return self.client_auth_type or "NoClientCert"

    @property
    def min_tls_version(self) -> str:
        """Minimum TLS version, as in the file: TLS12 or TLS13."""
        return self.min_version or "TLS12"

    @property
    def max_tls_version(self) -> str:
        """Maximum TLS version, as in the file: TLS12 or TLS13."""
        return self.max_version or "TLS13"


class HttpServerConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`http_server_config`: headers of every response."""

    http2: bool | None = None
    headers: dict[str, str | None] | None = None

    def __post_init__(self) -> None:
        if self.http2:
            raise ValueError(
                "http2: only HTTP/1.1 is served, which Prometheus speaks too; leave it out or set it to false"
            )
        for name, value in (self.headers or {}).items():
            _check_header(name, value or "")


class RateLimitConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`rate_limit`: a token bucket for all requests, with `burst` tokens and a new one every `interval`."""

    interval: str | None = None
    """Go duration, such as 1s or 1m30s; 0 means no limit."""
    burst: Annotated[int, msgspec.Meta(ge=0)] = 0

    def __post_init__(self) -> None:
        if self.interval_seconds and not self.burst:
            raise ValueError(
                "burst: expected an integer of at least 1, otherwise every request would be refused"
            )

    @property
    def interval_seconds(self) -> float:
        """Interval in seconds; 0 for no limit. Raises ValueError (only in the constructor)."""
        return _parse_duration("interval", self.interval) if self.interval else 0.0


class WebConfigFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Content of the web configuration file. Without a file: `WebConfigFile()`, plain HTTP without users."""

    tls_server_config: TlsServerConfig | None = None
    http_server_config: HttpServerConfig = HttpServerConfig()
    basic_auth_users: dict[str, str] = {}  # msgspec copies it for each instance
    """User name -> bcrypt hash of the password."""
    rate_limit: RateLimitConfig = RateLimitConfig()


def load_web_config(path: str) -> WebConfigFile:
    """Return the configuration in the file at `path`. Raises ConfigError."""
    return parse_web_config(read_text(path), path)


def parse_web_config(text: str, filename: str) -> WebConfigFile:
    """Return the configuration in `text`, of a file named `filename`. Raises ConfigError."""
    return parse_config(text, filename, WebConfigFile)


def _check_tls_version(name: str, version: str | None) -> None:
    if version in _DEPRECATED_TLS_VERSIONS:
        raise ValueError(f"{name}: {version} is deprecated (RFC 8996) and not served; use TLS12 or TLS13")
    if version and version not in _TLS_VERSIONS:
        raise ValueError(f"{name}: expected TLS12 or TLS13")


def _check_header(name: str, value: str) -> None:
    place = f"headers.{format_key(name)}"
    if name not in HEADERS:
        raise ValueError(f"{place}: cannot be set (can be: {', '.join(HEADERS)})")
    if value and HEADERS[name] and value not in HEADERS[name]:
        raise ValueError(f"{place}: expected {' or '.join(HEADERS[name])}")
    if not (value.isascii() and value.isprintable()):
        raise ValueError(f"{place}: only printable ASCII can be sent")


def _parse_duration(name: str, text: str) -> float:
    """Return a duration in seconds. Raises ValueError."""
    if not re.fullmatch(rf"(?:{_DURATION_PART.pattern})+|0", text):
        raise ValueError(f"{name}: expected a duration such as 1s, 500ms or 1m30s, or 0 for no limit")
    return sum(float(number) * _UNIT_SECONDS[unit] for number, unit in _DURATION_PART.findall(text))
