"""HTTP requests and responses of the request handlers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import NamedTuple

TEXT_CONTENT_TYPE: str = "text/plain; charset=utf-8"


class Request(NamedTuple):
    """Complete request. Its body, if any, has been discarded."""

    method: str
    path: str
    """Percent-decoded, without the query string."""
    query: str
    """The query string, without `?`, still encoded."""
    headers: Mapping[str, str]
    """Value by lower-case name; repeated headers are joined by commas."""


class Response(NamedTuple):
    """Complete response. The server adds `date`, `content-length` and, if needed, `connection`."""

    status: int
    body: bytes
    content_type: str = TEXT_CONTENT_TYPE
    headers: tuple[tuple[bytes, bytes], ...] = ()
    """Further headers, with lower-case names."""


Handler = Callable[[Request], Awaitable[Response]]
"""Request handler: returns the response. An exception is logged and answered with status 500."""


def header_dict(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Return headers by lower-case name, with repeated ones joined by commas."""
    joined: dict[str, str] = {}
    for name, value in headers:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        joined[key] = f"{joined[key]},{text}" if key in joined else text
    return joined
