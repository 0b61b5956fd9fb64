"""--web.config.file: the meaning of valid files, and the message for each error."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.config.strict_yaml import ConfigError
from exporter.config.web_config import (
    CLIENT_AUTH_TYPES,
    RateLimitConfig,
    TlsServerConfig,
    WebConfigFile,
    load_web_config,
    parse_web_config,
)

FILES: Final = Path(__file__).parents[1] / "fixtures" / "config" / "web"

TLS: Final = "tls_server_config"
TLS_KEYS: Final = (
    "cert, cert_file, client_allowed_sans, client_auth_type, client_ca, client_ca_file, key, key_file, "
    "max_version, min_version"
)
HEADERS: Final = (
    "Content-Security-Policy, Strict-Transport-Security, X-Content-Type-Options, X-Frame-Options, "
    "X-XSS-Protection"
)
INTERVAL: Final = "rate_limit.interval: expected a duration such as 1s, 500ms or 1m30s, or 0 for no limit"
UNVERIFIED: Final = (
    "accepts any certificate without verifying it, which Python's ssl module cannot do; "
    "use RequireAndVerifyClientCert or VerifyClientCertIfGiven"
)
MESSAGES: Final = {
    "bad-duplicate-key": "line 3, column 3: burst: duplicate key, first defined on line 2",
    "bad-header-mapping": "http_server_config.headers.X-Frame-Options: Expected `str | null`, got `object`",
    "bad-header-name": f"http_server_config.headers.Server: cannot be set (can be: {HEADERS})",
    "bad-header-newline": "http_server_config.headers.Content-Security-Policy: "
    "only printable ASCII can be sent",
    "bad-header-value": "http_server_config.headers.X-Frame-Options: expected deny or sameorigin",
    "bad-http2": "http_server_config.http2: only HTTP/1.1 is served, "
    "which Prometheus speaks too; leave it out or set it to false",
    "bad-http2-string": "http_server_config.http2: Expected `bool | null`, got `str`",
    "bad-key": "rate_limits: unknown key "
    "(known: basic_auth_users, http_server_config, rate_limit, tls_server_config)",
    "bad-rate-negative": INTERVAL,
    "bad-rate-no-burst": "rate_limit.burst: expected an integer of at least 1, "
    "otherwise every request would be refused",
    "bad-rate-number": INTERVAL,
    "bad-tls-ca-without-policy": f"{TLS}.client_auth_type: missing; with a client CA, "
    "use RequireAndVerifyClientCert",
    "bad-tls-cert-twice": f"{TLS}.cert: give either cert or cert_file",
    "bad-tls-ciphers": f"{TLS}.cipher_suites: not supported: OpenSSL has other names; "
    "leave it out for OpenSSL's defaults",
    "bad-tls-curves": f"{TLS}.curve_preferences: not supported by Python's ssl module; "
    "leave it out for OpenSSL's defaults",
    "bad-tls-key-unknown": f"{TLS}.certfile: unknown key (known: {TLS_KEYS})",
    "bad-tls-no-cert": f"{TLS}.cert_file: missing (or cert, with the PEM text itself)",
    "bad-tls-no-key": f"{TLS}.key_file: missing (or key, with the PEM text itself)",
    "bad-tls-policy-RequestClientCert": f"{TLS}.client_auth_type: RequestClientCert {UNVERIFIED}",
    "bad-tls-policy-RequireAnyClientCert": f"{TLS}.client_auth_type: RequireAnyClientCert {UNVERIFIED}",
    "bad-tls-policy-RequireClientCert": f"{TLS}.client_auth_type: RequireClientCert {UNVERIFIED}",
    "bad-tls-policy-unknown": f"{TLS}.client_auth_type: expected one of NoClientCert, "
    "VerifyClientCertIfGiven, RequireAndVerifyClientCert",
    "bad-tls-preference": f"{TLS}.prefer_server_cipher_suites: has no effect, as in Go since 1.17; "
    "leave it out",
    "bad-tls-san-null": f"{TLS}.client_allowed_sans[1]: Expected `str`, got `null`",
    "bad-tls-sans-without-policy": f"{TLS}.client_allowed_sans: "
    "needs client_auth_type RequireAndVerifyClientCert",
    "bad-tls-version-deprecated": f"{TLS}.min_version: TLS10 is deprecated (RFC 8996) and not served; "
    "use TLS12 or TLS13",
    "bad-tls-version-order": f"{TLS}.max_version: TLS12 is below min_version TLS13",
    "bad-tls-version-unknown": f"{TLS}.max_version: expected TLS12 or TLS13",
    "bad-user-list": "basic_auth_users.alice: Expected `str`, got `array`",
    "bad-user-null": "basic_auth_users.alice: Expected `str`, got `null`",
    "bad-users-list": "basic_auth_users: Expected `object`, got `array`",
}


def test_every_message_has_a_file() -> None:
    assert sorted(MESSAGES) == sorted(path.stem for path in FILES.glob("bad-*.yml"))


@pytest.mark.parametrize("name", MESSAGES)
def test_invalid_file_is_refused_with_its_message(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(FILES)
    with pytest.raises(ConfigError) as error:
        load_web_config(f"{name}.yml")
    assert str(error.value) == f"{name}.yml: {MESSAGES[name]}"


def test_every_setting_is_read() -> None:
    settings = load_web_config(str(FILES / "good-everything.yml"))
    tls = settings.tls_server_config
    assert tls
    assert tls.policy == "RequireAndVerifyClientCert"
    assert (tls.min_tls_version, tls.max_tls_version) == ("TLS13", "TLS13")
    assert tls.client_allowed_sans == ("prometheus.example",)
    assert settings.rate_limit.interval_seconds == pytest.approx(60.5)
    assert settings.rate_limit.burst == 20
    assert settings.basic_auth_users.keys() == {"prometheus"}
    assert settings.http_server_config.headers == {
        "X-Frame-Options": "deny",
        "X-Content-Type-Options": "nosniff",
        "X-XSS-Protection": "0",
        "Strict-Transport-Security": "max-age=31536000",
        "Content-Security-Policy": None,
    }


@pytest.mark.parametrize("text", ["", (FILES / "good-unset.yml").read_text()], ids=["empty", "unset"])
def test_missing_setting_is_off(text: str) -> None:
    assert parse_web_config(text, "web.yml") == WebConfigFile()


def test_scalars_are_strings_with_their_source_text() -> None:
    settings = load_web_config(str(FILES / "good-scalars.yml"))
    assert settings.tls_server_config == TlsServerConfig(
        cert_file="010",
        key_file="1_000",
        client_ca_file="2024-12-31",
        client_auth_type="RequireAndVerifyClientCert",
        client_allowed_sans=("1234", "0x1F", "yes", "1e3"),
    )
    assert settings.http_server_config.headers == {"X-XSS-Protection": "1"}
    assert settings.basic_auth_users == {"123": "456"}


def tls_server_config(**settings: str) -> TlsServerConfig:
    lines = [f"  {key}: {value}\n" for key, value in settings.items()]
    text = "tls_server_config:\n  cert_file: server.pem\n  key_file: server.key\n" + "".join(lines)
    tls = parse_web_config(text, "web.yml").tls_server_config
    assert tls
    return tls


def test_policies_that_verify_certificates_are_served() -> None:
    assert CLIENT_AUTH_TYPES == ("NoClientCert", "VerifyClientCertIfGiven", "RequireAndVerifyClientCert")
    for policy in CLIENT_AUTH_TYPES:
        assert tls_server_config(client_auth_type=policy).policy == policy


@pytest.mark.parametrize("settings", [{}, {"client_auth_type": "''"}, {"client_auth_type": ""}], ids=str)
def test_default_policy_is_no_client_cert(settings: dict[str, str]) -> None:
    assert tls_server_config(**settings).policy == "NoClientCert"


def test_default_versions_are_tls_1_2_and_1_3() -> None:
    tls = tls_server_config()
    assert (tls.min_tls_version, tls.max_tls_version) == ("TLS12", "TLS13")


def test_unknown_header_name_is_escaped_in_the_message() -> None:
    with pytest.raises(
        ConfigError, match=r"^web\.yml: http_server_config\.headers\.'a: b\\n': cannot be set"
    ):
        parse_web_config('http_server_config: {headers: {"a: b\\n": c}}', "web.yml")


@pytest.mark.parametrize(
    ("duration", "seconds"),
    [("0", 0), ("0s", 0), ("1s", 1), ("500ms", 0.5), ("1h1m1s", 3661), ("1.5m", 90), (".5s", 0.5)],
)
def test_interval_is_a_go_duration(duration: str, seconds: float) -> None:
    config = parse_web_config(f"rate_limit: {{interval: {duration}, burst: 1}}", "web.yml").rate_limit
    assert config == RateLimitConfig(interval=duration, burst=1)
    assert config.interval_seconds == pytest.approx(seconds)


@given(st.text())
def test_any_text_is_parsed_or_refused(text: str) -> None:
    with contextlib.suppress(ConfigError):
        parse_web_config(text, "web.yml")
