"""The file of --web.config.file, in the schema of exporter-toolkit (its docs/web-configuration.md).

What Python's TLS and this server cannot do is refused, not ignored.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Final

import msgspec

from ..settings_file import decode, read

CLIENT_AUTH_TYPES: Final = (
    "NoClientCert",
    "RequestClientCert",
    "RequireAnyClientCert",
    "VerifyClientCertIfGiven",
    "RequireAndVerifyClientCert",
)
"""The policies of Go's crypto/tls: whether a client is asked for a certificate, must have one, and what it is
worth."""

_OLD_NAME: Final = {"RequireClientCert": "RequireAnyClientCert"}
_DEMANDING: Final = ("RequireAnyClientCert", "RequireAndVerifyClientCert")
_VERSIONS: Final = ("TLS12", "TLS13")
_OUTDATED: Final = ("TLS10", "TLS11")

HEADERS: Final[Mapping[str, tuple[str, ...]]] = {
    "Content-Security-Policy": (),
    "Strict-Transport-Security": (),
    "X-Content-Type-Options": ("nosniff",),
    "X-Frame-Options": ("deny", "sameorigin"),
    "X-XSS-Protection": (),
}
"""The headers that may be set -> the values they may have, any if empty."""

_UNITS: Final = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_STEP: Final = re.compile(rf"(\d+(?:\.\d*)?|\.\d+)({'|'.join(_UNITS)})")


class TlsServer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How to serve TLS. Files are relative to the folder of the file that names them."""

    REFUSED: ClassVar[Mapping[str, str]] = {
        "cipher_suites": "Go's names mean nothing to OpenSSL; leave it out, and OpenSSL's defaults hold",
        "curve_preferences": "cannot be set from Python; leave it out, and OpenSSL's defaults hold",
        "prefer_server_cipher_suites": "has no effect in Go any more and none here; leave it out",
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
        self._check_policy()
        for name in ("min_version", "max_version"):
            _check_version(name, getattr(self, name))
        if self.lowest > self.highest:
            raise ValueError(f"max_version: {self.highest} is below min_version {self.lowest}")

    def _check_policy(self) -> None:
        if self.policy not in CLIENT_AUTH_TYPES:
            raise ValueError(f"client_auth_type: expected one of {', '.join(CLIENT_AUTH_TYPES)}")
        if (self.client_ca or self.client_ca_file) and self.policy == "NoClientCert":
            raise ValueError("client_auth_type: missing; to a client CA belongs RequireAndVerifyClientCert")
        if self.client_allowed_sans is not None and self.policy not in _DEMANDING:
            raise ValueError(f"client_allowed_sans: needs client_auth_type {' or '.join(_DEMANDING)}")

    @property
    def policy(self) -> str:
        """One of CLIENT_AUTH_TYPES."""
        given = self.client_auth_type or "NoClientCert"
        return _OLD_NAME.get(given, given)

    @property
    def lowest(self) -> str:
        """The lowest version of TLS, as the file spells it."""
        return self.min_version or "TLS12"

    @property
    def highest(self) -> str:
        """The highest version of TLS."""
        return self.max_version or "TLS13"


class HttpServer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Headers of every answer."""

    http2: bool | None = None
    headers: dict[str, str | None] | None = None

    def __post_init__(self) -> None:
        if self.http2:
            raise ValueError(
                "http2: only HTTP/1.1 is served, which Prometheus speaks too; leave it out or set it to false"
            )
        for name, value in (self.headers or {}).items():
            _check_header(name, value or "")


class RateLimit(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A token bucket that all requests share: `burst` at once, then one every `interval`."""

    interval: Any = 0
    """A duration as Go writes it, such as 1s or 1m30s; 0 means no limit."""
    burst: Annotated[int, msgspec.Meta(ge=0)] = 0

    def __post_init__(self) -> None:
        if self.seconds and not self.burst:
            raise ValueError("burst: expected an integer of at least 1, else no request would be answered")

    @property
    def seconds(self) -> float:
        """The interval. Raises ValueError (which the constructor has made sure of not to be)."""
        return 0.0 if self.interval in (None, 0) else _seconds(self.interval)


class WebSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the file says. Without a file: `WebSettings()`, plain HTTP for everybody."""

    tls_server_config: TlsServer | None = None
    http_server_config: HttpServer = HttpServer()
    basic_auth_users: dict[str, str] = {}  # msgspec gives each its own
    rate_limit: RateLimit = RateLimit()


def load(path: str) -> WebSettings:
    """The settings in the file at `path`. Raises ConfigError."""
    return parse(read(path), path)


def parse(text: str, filename: str) -> WebSettings:
    """The settings in `text`, of a file named `filename`. Raises ConfigError."""
    return decode(text, filename, WebSettings)


def _check_version(name: str, version: str | None) -> None:
    if version in _OUTDATED:
        raise ValueError(f"{name}: {version} is deprecated (RFC 8996) and not served; use TLS12 or TLS13")
    if version and version not in _VERSIONS:
        raise ValueError(f"{name}: expected TLS12 or TLS13")


def _check_header(name: str, value: str) -> None:
    if name not in HEADERS:
        raise ValueError(f"headers.{name}: cannot be set (can be: {', '.join(HEADERS)})")
    if value and HEADERS[name] and value not in HEADERS[name]:
        raise ValueError(f"headers.{name}: expected {' or '.join(HEADERS[name])}")
    if not (value.isascii() and value.isprintable()):
        raise ValueError(f"headers.{name}: only printable ASCII can be sent")


def _seconds(duration: object) -> float:
    text = duration if isinstance(duration, str) else ""
    if not re.fullmatch(rf"(?:{_STEP.pattern})+|0", text):
        raise ValueError("interval: expected a duration such as 1s, 500ms or 1m30s, or 0 for no limit")
    return sum(float(number) * _UNITS[unit] for number, unit in _STEP.findall(text))
