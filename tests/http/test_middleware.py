"""Rate limit, authentication and headers in front of the app."""

from __future__ import annotations

import asyncio
import base64
import re
import sys
from pathlib import Path
from typing import Any, Final

import bcrypt
import pytest

from exporter.config.strict_yaml import ConfigError
from exporter.config.web_config import HttpServerConfig, RateLimitConfig, WebConfigFile
from exporter.http.messages import Request, Response
from exporter.http.middleware import TokenBucket, WebConfig, WebConfigHolder, WebConfigMiddleware

SECRET: Final = "Basic " + base64.b64encode(b"prometheus:secret").decode()
USERS: Final = {"prometheus": bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode()}
PAGE: Final = Response(200, b"page", headers=((b"content-security-policy", b"mine"),))


async def page(_: Request) -> Response:
    return PAGE


def config(**settings: Any) -> WebConfigHolder:
    return WebConfigHolder(WebConfig(WebConfigFile(**settings), Path()))


def send_request(holder: WebConfigHolder, authorization: str = "") -> tuple[int, dict[bytes, bytes], bytes]:
    """Return the status, headers and body of the response to a request."""
    headers = {"authorization": authorization} if authorization else {}

    async def respond() -> Response:
        return await WebConfigMiddleware(page, holder)(Request("GET", "/", "", headers))

    response = asyncio.run(respond())
    names = [name for name, _ in response.headers]
    assert len(names) == len(set(names))
    return response.status, dict(response.headers), response.body


def test_without_settings_responses_pass_unchanged() -> None:
    async def respond() -> Response:
        return await WebConfigMiddleware(page, config())(Request("GET", "/", "", {}))

    assert asyncio.run(respond()) is PAGE


def test_missing_credentials_are_401_with_a_challenge() -> None:
    protected = config(basic_auth_users=USERS)
    status, headers, body = send_request(protected)
    assert (status, body) == (401, b"unauthorized\n")
    assert headers[b"www-authenticate"].startswith(b"Basic realm=")
    assert send_request(protected, SECRET)[0] == 200


def test_configured_header_has_no_surrounding_spaces() -> None:
    headers = {"Strict-Transport-Security": " max-age=1 ", "Content-Security-Policy": " "}
    _, sent, _ = send_request(config(http_server_config=HttpServerConfig(headers=headers)))
    assert (sent[b"strict-transport-security"], sent[b"content-security-policy"]) == (b"max-age=1", b"mine")


def test_configured_headers_replace_those_of_every_response() -> None:
    headers = {"X-Frame-Options": "deny", "Content-Security-Policy": "theirs", "X-XSS-Protection": None}
    protected = config(basic_auth_users=USERS, http_server_config=HttpServerConfig(headers=headers))
    for authorization in ("", SECRET):
        _, answered, _ = send_request(protected, authorization)
        assert answered[b"x-frame-options"] == b"deny"
        assert answered[b"content-security-policy"] == b"theirs"
        assert b"x-xss-protection" not in answered


def test_requests_above_the_rate_limit_are_429_with_retry_after() -> None:
    limited = config(rate_limit=RateLimitConfig(interval="90s", burst=2))
    assert [send_request(limited)[0] for _ in range(3)] == [200, 200, 429]
    _, headers, body = send_request(limited)
    assert (headers[b"retry-after"], body) == (b"90", b"too many requests\n")


def test_rate_limit_applies_before_authentication() -> None:
    limited = config(rate_limit=RateLimitConfig(interval="1h", burst=1), basic_auth_users=USERS)
    assert [send_request(limited)[0] for _ in range(2)] == [401, 429]


def test_new_configuration_applies_to_the_next_request() -> None:
    changing = config()
    assert send_request(changing)[0] == 200
    changing.current = config(basic_auth_users=USERS).current
    assert send_request(changing)[0] == 401


def test_exception_of_the_handler_is_not_caught() -> None:
    async def broken(_: Request) -> Response:
        raise RuntimeError

    middleware = WebConfigMiddleware(broken, config())
    with pytest.raises(RuntimeError):
        asyncio.run(middleware(Request("GET", "/", "", {})))  # type: ignore[arg-type]


def test_token_bucket_refills_with_time_up_to_its_burst() -> None:
    now = [0.0]
    bucket = TokenBucket(RateLimitConfig(interval="2s", burst=3), lambda: now[0])
    assert [bucket.acquire() for _ in range(4)] == [0, 0, 0, 2]
    now[0] = 1.0
    assert bucket.acquire() == pytest.approx(1)
    now[0] = 2.0
    assert [bucket.acquire() for _ in range(2)] == [0, 2]
    now[0] = 1000.0
    assert [bucket.acquire() for _ in range(4)] == [0, 0, 0, 2]


def test_config_error_names_file_and_setting(tmp_path: Path) -> None:
    file = tmp_path / "web.yml"
    file.write_text("basic_auth_users: {alice: secret}\n")
    with pytest.raises(ConfigError, match=r"web\.yml: basic_auth_users\.alice: not a bcrypt hash"):
        WebConfig.from_file(str(file))
    file.write_text("tls_server_config: {cert_file: none.pem, key_file: none.key}\n")
    with pytest.raises(ConfigError, match=re.escape(f"cert_file: {tmp_path / 'none.pem'}: No such file")):
        WebConfig.from_file(str(file))


def test_library_that_cannot_be_loaded_is_an_error_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "web.yml"
    file.write_text(f"basic_auth_users: {USERS}")
    monkeypatch.delitem(sys.modules, "exporter.http.basic_auth", raising=False)
    monkeypatch.setitem(sys.modules, "bcrypt", None)  # an import of it raises ImportError
    with pytest.raises(ConfigError, match=r"web\.yml: cannot load bcrypt: "):
        WebConfig.from_file(str(file))
