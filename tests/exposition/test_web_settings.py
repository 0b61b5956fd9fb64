"""--web.config.file: what good files mean, and the exact message for each way to be wrong."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.exposition.web_settings import CLIENT_AUTH_TYPES, HEADERS, RateLimit, WebSettings, load, parse
from exporter.settings_file import ConfigError

FILES: Final = Path(__file__).parent.parent / "fixtures" / "web"

TLS: Final = "tls_server_config"
TLS_KEYS: Final = (
    "cert, cert_file, client_allowed_sans, client_auth_type, client_ca, client_ca_file, key, key_file, "
    "max_version, min_version"
)
INTERVAL: Final = "rate_limit.interval: expected a duration such as 1s, 500ms or 1m30s, or 0 for no limit"
MESSAGES: Final = {
    "bad-header-line": "http_server_config.headers.Content-Security-Policy: only printable ASCII can be sent",
    "bad-header-name": f"http_server_config.headers.Server: cannot be set (can be: {', '.join(HEADERS)})",
    "bad-header-value": "http_server_config.headers.X-Frame-Options: expected deny or sameorigin",
    "bad-http2": "http_server_config.http2: only HTTP/1.1 is served, which Prometheus speaks too; "
    "leave it out or set it to false",
    "bad-key": "rate_limits: unknown key "
    "(known: basic_auth_users, http_server_config, rate_limit, tls_server_config)",
    "bad-key-twice": "line 3, column 3: burst given twice, first in line 2",
    "bad-rate-negative": INTERVAL,
    "bad-rate-no-burst": "rate_limit.burst: expected an integer of at least 1, "
    "else no request would be answered",
    "bad-rate-number": INTERVAL,
    "bad-tls-ca-alone": f"{TLS}.client_auth_type: missing; to a client CA belongs RequireAndVerifyClientCert",
    "bad-tls-cert-twice": f"{TLS}.cert: give either cert or cert_file",
    "bad-tls-ciphers": f"{TLS}.cipher_suites: Go's names mean nothing to OpenSSL; leave it out, "
    "and OpenSSL's defaults hold",
    "bad-tls-curves": f"{TLS}.curve_preferences: cannot be set from Python; leave it out, "
    "and OpenSSL's defaults hold",
    "bad-tls-empty": f"{TLS}.cert_file: missing (or cert, with the PEM text itself)",
    "bad-tls-key-unknown": f"{TLS}.certfile: unknown key (known: {TLS_KEYS})",
    "bad-tls-no-key": f"{TLS}.key_file: missing (or key, with the PEM text itself)",
    "bad-tls-number": f"{TLS}.cert_file: expected a string, got an integer (put it in quotes)",
    "bad-tls-old": f"{TLS}.min_version: TLS10 is deprecated (RFC 8996) and not served; use TLS12 or TLS13",
    "bad-tls-policy": f"{TLS}.client_auth_type: expected one of {', '.join(CLIENT_AUTH_TYPES)}",
    "bad-tls-preference": f"{TLS}.prefer_server_cipher_suites: has no effect in Go any more and none here; "
    "leave it out",
    "bad-tls-sans-alone": f"{TLS}.client_allowed_sans: needs client_auth_type RequireAnyClientCert or "
    "RequireAndVerifyClientCert",
    "bad-tls-version": f"{TLS}.max_version: expected TLS12 or TLS13",
    "bad-tls-versions": f"{TLS}.max_version: TLS12 is below min_version TLS13",
    "bad-user-number": "basic_auth_users[...]: expected a string, got an integer (put it in quotes)",
    "bad-users-list": "basic_auth_users: expected a mapping, got a list",
}


def test_every_bad_file_has_its_message() -> None:
    assert sorted(MESSAGES) == sorted(path.stem for path in FILES.glob("bad-*.yml"))


@pytest.mark.parametrize("name", MESSAGES)
def test_what_is_wrong_is_named_with_its_place(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(FILES)
    with pytest.raises(ConfigError) as error:
        load(f"{name}.yml")
    assert str(error.value) == f"{name}.yml: {MESSAGES[name]}"


def test_everything_that_can_be_said_is_understood() -> None:
    settings = load(str(FILES / "good-everything.yml"))
    tls = settings.tls_server_config
    assert tls
    assert (tls.policy, tls.lowest, tls.highest) == ("RequireAndVerifyClientCert", "TLS13", "TLS13")
    assert tls.client_allowed_sans == ("prometheus.example",)
    assert settings.rate_limit.seconds == pytest.approx(60.5)
    assert settings.basic_auth_users.keys() == {"prometheus"}


@pytest.mark.parametrize("text", ["", (FILES / "good-unset.yml").read_text()], ids=["empty", "unset"])
def test_what_is_not_said_is_off(text: str) -> None:
    assert parse(text, "web.yml") == WebSettings()


def test_the_old_name_of_a_policy_is_known() -> None:
    text = "tls_server_config: {cert_file: a, key_file: b, client_auth_type: RequireClientCert}"
    tls = parse(text, "web.yml").tls_server_config
    assert tls
    assert tls.policy == "RequireAnyClientCert"


@pytest.mark.parametrize(
    ("duration", "seconds"),
    [(0, 0), ("0", 0), ("0s", 0), ("1s", 1), ("500ms", 0.5), ("1h1m1s", 3661), ("1.5m", 90), (".5s", 0.5)],
)
def test_durations_are_go_s(duration: object, seconds: float) -> None:
    assert RateLimit(interval=duration, burst=1).seconds == pytest.approx(seconds)


@given(st.text())
def test_whatever_the_file_says_it_is_understood_or_refused(text: str) -> None:
    with contextlib.suppress(ConfigError):
        parse(text, "web.yml")
