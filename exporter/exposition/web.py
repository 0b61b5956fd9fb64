"""What stands in front of every page: rate limit, users, and headers, as --web.config.file says."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ..config.strict_yaml import ConfigError
from ..config.web_config import RateLimitConfig, WebConfigFile, load_web_config
from .reply import AsgiApplication, Receive, Reply, Scope, Send, joined

if TYPE_CHECKING:
    from .web_tls import ServerTls
    from .web_users import Users

_CHALLENGE: Final = (b"www-authenticate", b'Basic realm="socket-state-exporter", charset="UTF-8"')


class Bucket:
    """A token bucket. clock: seconds, never stepping."""

    def __init__(self, limit: RateLimitConfig, clock: Callable[[], float] = time.monotonic) -> None:
        self._interval = limit.interval_seconds
        self._burst = limit.burst
        self._clock = clock
        self._tokens = float(limit.burst)
        self._filled = clock()

    def wait(self) -> float:
        """Takes a token and gives 0, or gives the seconds after which there will be one."""
        now = self._clock()
        self._tokens = min(self._burst, self._tokens + (now - self._filled) / self._interval)
        self._filled = now
        if self._tokens < 1:
            return (1 - self._tokens) * self._interval
        self._tokens -= 1
        return 0.0


class Web:
    """The settings of the web server, ready for use: files read, hashes checked.

    directory: what relative files are relative to. Raises ValueError, `PLACE: PROBLEM`.
    """

    def __init__(self, settings: WebConfigFile, directory: Path) -> None:
        headers = settings.http_server_config.headers or {}
        self.headers = tuple((name.lower().encode(), text.encode()) for name, text in headers.items() if text)
        self._bucket = Bucket(settings.rate_limit) if settings.rate_limit.interval_seconds else None
        # Only who configures them pays for bcrypt and OpenSSL.
        self.tls: ServerTls | None = None
        if settings.tls_server_config:
            from .web_tls import ServerTls

            self.tls = ServerTls(settings.tls_server_config, directory)
        self._users: Users | None = None
        if settings.basic_auth_users:
            from .web_users import Users

            self._users = Users(settings.basic_auth_users)

    async def refusal(self, scope: Scope) -> Reply | None:
        """The answer to a request that goes no further; None for one that may."""
        if self._bucket and (seconds := self._bucket.wait()):
            return _come_again(math.ceil(seconds))
        if self._users is None:
            return None
        from .web_users import BusyError

        try:
            admitted = await self._users.admit(joined(scope["headers"]).get("authorization", ""))
        except BusyError:
            return _come_again(1)
        return None if admitted else Reply(401, b"unauthorized\n", headers=(_CHALLENGE,))


def from_file(path: str | None) -> Web:
    """What the file at `path` says, or without one what holds for everybody. Raises ConfigError."""
    if path is None:
        return Web(WebConfigFile(), Path())
    try:
        return Web(load_web_config(path), Path(path).parent)
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from None


class Front:
    """What is in force now; replaced when the file is read again."""

    def __init__(self, web: Web) -> None:
        self.web = web

    def now(self) -> Web:
        return self.web

    def tls(self) -> ServerTls | None:
        """What holds for the next connection."""
        return self.web.tls


class Guard:
    """An ASGI application in front of another. web: what is in force now, asked at every request."""

    def __init__(self, application: AsgiApplication, web: Callable[[], Web]) -> None:
        self._application = application
        self._web = web

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        web = self._web()
        ours = {name for name, _ in web.headers}

        async def with_headers(message: dict[str, Any]) -> None:
            if ours and message["type"] == "http.response.start":
                # What the operator says holds, be it about a page with a policy of its own.
                kept = [header for header in message["headers"] if header[0] not in ours]
                message = {**message, "headers": [*kept, *web.headers]}
            await send(message)

        refusal = await web.refusal(scope)
        if refusal:
            await refusal.send(scope, with_headers)
        else:
            await self._application(scope, receive, with_headers)


def _come_again(seconds: int) -> Reply:
    return Reply(429, b"too many requests\n", headers=((b"retry-after", str(seconds).encode()),))
