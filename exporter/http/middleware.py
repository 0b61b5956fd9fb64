"""Middleware configured by --web.config.file: rate limit, authentication, response headers."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ..config.strict_yaml import ConfigError
from ..config.web_config import RateLimitConfig, WebConfigFile, load_web_config
from .limits import DEFAULT_LIMITS, ServerLimits
from .messages import Handler, Request, Response

if TYPE_CHECKING:
    from .basic_auth import BasicAuth
    from .tls import TlsContextFactory

_CHALLENGE: Final = (b"www-authenticate", b'Basic realm="socket-state-exporter", charset="UTF-8"')


class TokenBucket:
    """Token bucket with `limit.burst` tokens, refilled with one token every `limit.interval_seconds`.

    clock: returns monotonic seconds.
    """

    def __init__(self, limit: RateLimitConfig, clock: Callable[[], float] = time.monotonic) -> None:
        self._interval = limit.interval_seconds
        self._burst = limit.burst
        self._clock = clock
        self._tokens = float(limit.burst)
        self._refilled_at = clock()

    def acquire(self) -> float:
        """Take a token and return 0; if there is none, return the seconds until the next one."""
        now = self._clock()
        self._tokens = min(self._burst, self._tokens + (now - self._refilled_at) / self._interval)
        self._refilled_at = now
        if self._tokens < 1:
            return (1 - self._tokens) * self._interval
        self._tokens -= 1
        return 0.0


class WebConfig:
    """Web configuration, ready for use: certificates have been loaded and password hashes checked.

    directory: base of relative paths in the settings. Raises ValueError(`PLACE: PROBLEM`).
    """

    def __init__(
        self, settings: WebConfigFile, directory: Path, limits: ServerLimits = DEFAULT_LIMITS
    ) -> None:
        headers = settings.http_server_config.headers or {}
        # As in Go, without surrounding spaces: h11 refuses to send them.
        stripped = ((name, (text or "").strip()) for name, text in headers.items())
        self._headers = tuple((name.lower().encode(), text.encode()) for name, text in stripped if text)
        self._header_names = frozenset(name for name, _ in self._headers)
        self._bucket = TokenBucket(settings.rate_limit) if settings.rate_limit.interval_seconds else None
        # OpenSSL and bcrypt are imported only if they are needed.
        self.tls: TlsContextFactory | None = None
        if settings.tls_server_config:
            from .tls import TlsContextFactory

            self.tls = TlsContextFactory(settings.tls_server_config, directory)
        self._basic_auth: BasicAuth | None = None
        if settings.basic_auth_users:
            from .basic_auth import BasicAuth

            self._basic_auth = BasicAuth(settings.basic_auth_users, limits)

    @classmethod
    def from_file(cls, path: str | None) -> WebConfig:
        """Return the configuration in a file; for None the default, plain HTTP without users.

        Raises ConfigError.
        """
        if path is None:
            return cls(WebConfigFile(), Path())
        try:
            return cls(load_web_config(path), Path(path).parent)
        except ImportError as error:
            # Such as a DLL of Windows that bcrypt needs and this host lacks.
            raise ConfigError(f"{path}: cannot load {error.name}: {error}") from None
        except ValueError as error:
            raise ConfigError(f"{path}: {error}") from None

    async def reject(self, request: Request) -> Response | None:
        """Return the response to a request that is rejected, None if it is not."""
        if self._bucket and (wait_seconds := self._bucket.acquire()):
            return _too_many_requests(math.ceil(wait_seconds))
        if self._basic_auth is None:
            return None
        from .basic_auth import TooManyPendingError

        try:
            authenticated = await self._basic_auth.authenticate(request.headers.get("authorization", ""))
        except TooManyPendingError:
            return _too_many_requests(1)
        return None if authenticated else Response(401, b"unauthorized\n", headers=(_CHALLENGE,))

    def with_headers(self, response: Response) -> Response:
        """Return the response with the configured headers, which replace its own of the same names."""
        if not self._headers:
            return response
        others = tuple(header for header in response.headers if header[0] not in self._header_names)
        return response._replace(headers=others + self._headers)


class WebConfigHolder:
    """Holder of the active web configuration, which is replaced by a reload."""

    def __init__(self, config: WebConfig) -> None:
        self.current = config

    def tls(self) -> TlsContextFactory | None:
        """Return the factory of TLS contexts for the next connection, None for plain HTTP."""
        return self.current.tls


class WebConfigMiddleware:
    """Request handler that applies the active web configuration to another handler."""

    def __init__(self, handler: Handler, holder: WebConfigHolder) -> None:
        self._handler = handler
        self._holder = holder

    async def __call__(self, request: Request) -> Response:
        """Return the response of the other handler, or the rejection."""
        config = self._holder.current
        rejection = await config.reject(request)
        return config.with_headers(rejection or await self._handler(request))


def _too_many_requests(retry_after_seconds: int) -> Response:
    return Response(
        429, b"too many requests\n", headers=((b"retry-after", str(retry_after_seconds).encode()),)
    )
