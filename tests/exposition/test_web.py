"""What stands in front of every page."""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path
from typing import Any, Final

import bcrypt
import pytest

from exporter.config.strict_yaml import ConfigError
from exporter.config.web_config import HttpServerConfig, RateLimitConfig, WebConfigFile
from exporter.exposition.reply import Receive, Reply, Scope, Send
from exporter.exposition.web import Bucket, Front, Guard, Web, from_file

SECRET: Final = "Basic " + base64.b64encode(b"prometheus:secret").decode()
USERS: Final = {"prometheus": bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode()}


async def page(scope: Scope, _receive: Receive, send: Send) -> None:
    await Reply(200, b"page", headers=((b"content-security-policy", b"mine"),)).send(scope, send)


def ask(front: Front, authorization: str = "", method: str = "GET") -> tuple[int, dict[bytes, bytes], bytes]:
    return asyncio.run(asking(front, authorization, method))


async def asking(front: Front, authorization: str, method: str) -> tuple[int, dict[bytes, bytes], bytes]:
    messages: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        messages.append(message)

    async def receive() -> dict[str, Any]:
        raise AssertionError("no page wants a body")

    headers = [(b"authorization", authorization.encode())] if authorization else []
    await Guard(page, front.now)({"method": method, "headers": headers}, receive, send)
    start, end = messages
    names = [name for name, _ in start["headers"]]
    assert len(names) == len(set(names))
    return start["status"], dict(start["headers"]), end["body"]


def front(**settings: Any) -> Front:
    return Front(Web(WebConfigFile(**settings), Path()))


def test_without_settings_everybody_is_served() -> None:
    status, headers, body = ask(front())
    assert (status, body, headers[b"content-security-policy"]) == (200, b"page", b"mine")


def test_users_need_their_password_and_are_told_how() -> None:
    guarded = front(basic_auth_users=USERS)
    status, headers, body = ask(guarded)
    assert (status, body) == (401, b"unauthorized\n")
    assert headers[b"www-authenticate"].startswith(b"Basic realm=")
    assert ask(guarded, SECRET)[0] == 200


def test_a_refusal_to_head_has_no_body() -> None:
    assert ask(front(basic_auth_users=USERS), method="HEAD")[::2] == (401, b"")


def test_headers_are_in_every_answer_and_outdo_a_page_s_own() -> None:
    headers = {"X-Frame-Options": "deny", "Content-Security-Policy": "theirs", "X-XSS-Protection": None}
    guarded = front(basic_auth_users=USERS, http_server_config=HttpServerConfig(headers=headers))
    for authorization in ("", SECRET):
        _, answered, _ = ask(guarded, authorization)
        assert answered[b"x-frame-options"] == b"deny"
        assert answered[b"content-security-policy"] == b"theirs"
        assert b"x-xss-protection" not in answered


def test_requests_beyond_the_rate_are_told_when_to_come_again() -> None:
    limited = front(rate_limit=RateLimitConfig(interval="90s", burst=2))
    assert [ask(limited)[0] for _ in range(3)] == [200, 200, 429]
    _, headers, body = ask(limited)
    assert (headers[b"retry-after"], body) == (b"90", b"too many requests\n")


def test_the_rate_comes_before_the_password() -> None:
    limited = front(rate_limit=RateLimitConfig(interval="1h", burst=1), basic_auth_users=USERS)
    assert [ask(limited)[0] for _ in range(2)] == [401, 429]


def test_new_settings_hold_for_the_next_request() -> None:
    changing = front()
    assert ask(changing)[0] == 200
    changing.web = front(basic_auth_users=USERS).web
    assert ask(changing)[0] == 401


def test_a_bucket_fills_with_time_up_to_its_burst() -> None:
    now = [0.0]
    bucket = Bucket(RateLimitConfig(interval="2s", burst=3), lambda: now[0])
    assert [bucket.wait() for _ in range(4)] == [0, 0, 0, 2]
    now[0] = 1.0
    assert bucket.wait() == pytest.approx(1)
    now[0] = 2.0
    assert [bucket.wait() for _ in range(2)] == [0, 2]
    now[0] = 1000.0
    assert [bucket.wait() for _ in range(4)] == [0, 0, 0, 2]


def test_a_file_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    file = tmp_path / "web.yml"
    file.write_text("basic_auth_users: {alice: secret}\n")
    with pytest.raises(ConfigError, match=r"web\.yml: basic_auth_users\.alice: no bcrypt hash"):
        from_file(str(file))
    file.write_text("tls_server_config: {cert_file: none.pem, key_file: none.key}\n")
    with pytest.raises(ConfigError, match=rf"cert_file: {tmp_path}/none\.pem: No such file"):
        from_file(str(file))
