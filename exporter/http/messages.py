"""HTTP requests and responses, as the handlers see them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import NamedTuple

TEXT: str = "text/plain; charset=utf-8"


class Request(NamedTuple):
    """A complete request; its body, if it had one, has been discarded."""

    method: str
    path: str
    """Percent-decoded, without the query string."""
    query: str
    """The query string, without `?`, still encoded."""
    headers: Mapping[str, str]
    """By lower-case name; repeated ones are joined by commas."""


class Response(NamedTuple):
    """A complete response. The server adds `date`, `content-length` and, where it is due, `connection`."""

    status: int
    body: bytes
    content_type: str = TEXT
    headers: tuple[tuple[bytes, bytes], ...] = ()
    """Further headers, with lower-case names."""


Handler = Callable[[Request], Awaitable[Response]]
"""Returns the response to a request. What it raises is logged, and answered with status 500."""


def header_dict(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Return headers by lower-case name, with repeated ones joined by commas."""
    joined: dict[str, str] = {}
    for name, value in headers:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        joined[key] = f"{joined[key]},{text}" if key in joined else text
    return joined
