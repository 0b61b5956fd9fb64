"""TLS by exporter-toolkit's settings: real handshakes with certificates that openssl made."""

from __future__ import annotations

import contextlib
import logging
import shutil
import ssl
from pathlib import Path
from typing import Final

import pytest

from exporter.config.web_config import TlsServerConfig
from exporter.exposition.web_tls import VERIFY_MODES, ServerTls

from ..certificates import Authority, Certificate, self_signed
from ..tools import require

pytestmark = require("openssl")

NOBODY: Final = "nobody"
STRANGER: Final = "stranger"
FRIEND: Final = "friend"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pki")
    authority = Authority(folder)
    authority.sign("server")
    authority.sign("other")
    names = (
        "DNS:prometheus.example",
        "IP:2001:db8::1",
        "URI:spiffe://mesh/prometheus",
        "email:ops@example.com",
    )
    authority.sign(FRIEND, *names)
    authority.sign("locked", passphrase="secret")  # noqa: S106  # a test's
    self_signed(folder, STRANGER)
    return folder


def tls(folder: Path, **settings: object) -> ServerTls:
    given = {"cert_file": "server.pem", "key_file": "server.key", **settings}
    return ServerTls(TlsServerConfig(**given), folder)  # type: ignore[arg-type]


def shake_hands(
    server: ServerTls, folder: Path, who: str = NOBODY, version: ssl.TLSVersion | None = None
) -> ssl.SSLObject:
    """Agrees on TLS, in memory; gives the server's side. Raises ssl.SSLError as a server would see it."""
    client = ssl.create_default_context(cafile=str(folder / "ca.pem"))
    if version:
        client.minimum_version = client.maximum_version = version
    if who != NOBODY:
        client.load_cert_chain(folder / f"{who}.pem", folder / f"{who}.key")
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    caller = client.wrap_bio(to_client, to_server, server_hostname="localhost")
    answerer = server.context().wrap_bio(to_server, to_client, server_side=True)
    finished = set[ssl.SSLObject]()
    for _ in range(6):
        for side in {caller, answerer} - finished:
            try:
                side.do_handshake()
                finished.add(side)
            except ssl.SSLWantReadError:
                pass
    assert finished == {caller, answerer}
    return answerer


def is_accepted(server: ServerTls, folder: Path, who: str, version: ssl.TLSVersion | None = None) -> bool:
    try:
        return server.admits(shake_hands(server, folder, who, version))
    except ssl.SSLError:
        return False


def test_only_policies_that_verify_are_implemented() -> None:
    assert set(VERIFY_MODES) == {"NoClientCert", "VerifyClientCertIfGiven", "RequireAndVerifyClientCert"}


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize(
    ("policy", "accepted"),
    [
        ("NoClientCert", {NOBODY, STRANGER, FRIEND}),
        ("VerifyClientCertIfGiven", {NOBODY, FRIEND}),
        ("RequireAndVerifyClientCert", {FRIEND}),
    ],
)
def test_a_policy_says_whose_certificate_will_do(
    folder: Path, policy: str, accepted: set[str], version: ssl.TLSVersion
) -> None:
    authority = {} if policy == "NoClientCert" else {"client_ca_file": "ca.pem"}
    server = tls(folder, client_auth_type=policy, **authority)
    for who in (NOBODY, STRANGER, FRIEND):
        assert is_accepted(server, folder, who, version) == (who in accepted), who


@pytest.mark.parametrize(
    ("allowed", "accepted"),
    [
        ("prometheus.example", True),
        ("2001:db8::1", True),
        ("spiffe://mesh/prometheus", True),
        ("ops@example.com", True),
        ("other.example", False),
        ("*.example", False),
    ],
)
def test_names_of_clients_can_be_demanded(folder: Path, allowed: str, accepted: bool) -> None:
    authority = {"client_auth_type": "RequireAndVerifyClientCert", "client_ca_file": "ca.pem"}
    assert is_accepted(tls(folder, **authority, client_allowed_sans=(allowed,)), folder, FRIEND) == accepted


def test_a_certificate_without_names_matches_none(folder: Path) -> None:
    # Self-signed: verified by a CA file that has it.
    authority = {"client_auth_type": "RequireAndVerifyClientCert", "client_ca_file": "stranger.pem"}
    assert is_accepted(tls(folder, **authority), folder, STRANGER)
    assert not is_accepted(tls(folder, **authority, client_allowed_sans=("stranger",)), folder, STRANGER)


@pytest.mark.parametrize(("least", "old", "new"), [("TLS12", True, True), ("TLS13", False, True)])
def test_the_version_is_at_least_what_is_said(folder: Path, least: str, old: bool, new: bool) -> None:
    server = tls(folder, min_version=least)
    assert is_accepted(server, folder, NOBODY, ssl.TLSVersion.TLSv1_2) == old
    assert is_accepted(server, folder, NOBODY, ssl.TLSVersion.TLSv1_3) == new


def test_and_at_most(folder: Path) -> None:
    server = tls(folder, max_version="TLS12")
    assert shake_hands(server, folder).version() == "TLSv1.2"
    assert not is_accepted(server, folder, NOBODY, ssl.TLSVersion.TLSv1_3)


def test_pem_may_stand_in_the_file_itself(folder: Path) -> None:
    inline = TlsServerConfig(
        cert=(folder / "server.pem").read_text(),
        key=(folder / "server.key").read_text(),
        client_ca=(folder / "ca.pem").read_text(),
        client_auth_type="RequireAndVerifyClientCert",
    )
    assert is_accepted(ServerTls(inline, Path("/nowhere")), folder, FRIEND)


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"cert_file": "none.pem"}, r"cert_file: /.*/none\.pem: No such file or directory"),
        ({"key_file": "none.key"}, r"key_file: /.*/none\.key: No such file or directory"),
        (
            {"key_file": "other.key"},
            r"cert_file: /.*server\.pem: the key does not belong to this certificate",
        ),
        ({"cert_file": "server.key"}, r"cert_file: /.*server\.key: no certificate and key in PEM \(.*\)"),
        ({"key_file": "locked.key"}, "the key is encrypted; it has to be without a passphrase"),
        (
            {"client_auth_type": "RequireAndVerifyClientCert", "client_ca_file": "server.key"},
            r"client_ca_file: /.*server\.key: no certificate in PEM",
        ),
    ],
)
def test_files_that_cannot_be_used_are_named(folder: Path, settings: dict[str, object], problem: str) -> None:
    with pytest.raises(ValueError, match=rf"^tls_server_config[.:] ?.*{problem}"):
        tls(folder, **settings)


class TestRenewal:
    @pytest.fixture
    def live(self, folder: Path, tmp_path: Path) -> Certificate:
        shutil.copy(folder / "ca.pem", tmp_path)
        shutil.copy(folder / "server.pem", tmp_path)
        shutil.copy(folder / "server.key", tmp_path)
        return Certificate(tmp_path / "server.pem", tmp_path / "server.key")

    @staticmethod
    def served(server: ServerTls, folder: Path) -> object:
        """The serial number of the certificate that clients see."""
        client = ssl.create_default_context(cafile=str(folder / "ca.pem"))
        to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
        caller = client.wrap_bio(to_client, to_server, server_hostname="localhost")
        answerer = server.context().wrap_bio(to_server, to_client, server_side=True)
        for side in (caller, answerer, caller):
            with contextlib.suppress(ssl.SSLWantReadError):
                side.do_handshake()
        certificate = caller.getpeercert()
        assert certificate
        return certificate["serialNumber"]

    def test_a_new_certificate_is_served_from_the_next_handshake_on(
        self, folder: Path, live: Certificate, caplog: pytest.LogCaptureFixture
    ) -> None:
        server = tls(live.cert.parent)
        old = self.served(server, folder)
        assert self.served(server, folder) == old
        shutil.copy(folder / "other.pem", live.cert)
        assert self.served(server, folder) == old, "the key is still that of the old one"
        assert self.served(server, folder) == old
        assert [record.levelno for record in caplog.records] == [logging.WARNING]
        shutil.copy(folder / "other.key", live.key)
        assert self.served(server, folder) != old

    def test_a_file_that_is_gone_leaves_the_old_one_in_force(self, folder: Path, live: Certificate) -> None:
        server = tls(live.cert.parent)
        old = self.served(server, folder)
        live.key.unlink()
        assert self.served(server, folder) == old
