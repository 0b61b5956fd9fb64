"""TLS by exporter-toolkit's settings: real handshakes with certificates that openssl made."""

from __future__ import annotations

import contextlib
import logging
import shutil
import ssl
import sys
from pathlib import Path
from typing import Final

import pytest

from exporter.config.web_config import TlsServerConfig
from exporter.http.tls import VERIFY_MODES, TlsContextFactory

from ..certificates import Authority, Certificate, self_signed
from ..tools import require

pytestmark = require("openssl")

NO_CERT: Final = "none"
SELF_SIGNED: Final = "self-signed"
SIGNED: Final = "signed"


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
    authority.sign(SIGNED, *names)
    authority.sign("locked", passphrase="secret")  # noqa: S106  # used only in tests
    self_signed(folder, SELF_SIGNED)
    return folder


def tls(folder: Path, **settings: object) -> TlsContextFactory:
    values = {"cert_file": "server.pem", "key_file": "server.key", **settings}
    return TlsContextFactory(TlsServerConfig(**values), folder)  # type: ignore[arg-type]


def handshake(
    server: TlsContextFactory, folder: Path, client_name: str = NO_CERT, version: ssl.TLSVersion | None = None
) -> ssl.SSLObject:
    """Perform a handshake in memory and return the server's side. Raises ssl.SSLError as in a server."""
    client = ssl.create_default_context(cafile=str(folder / "ca.pem"))
    if version:
        client.minimum_version = client.maximum_version = version
    if client_name != NO_CERT:
        client.load_cert_chain(folder / f"{client_name}.pem", folder / f"{client_name}.key")
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    client_side = client.wrap_bio(to_client, to_server, server_hostname="localhost")
    server_side_object = server.context().wrap_bio(to_server, to_client, server_side=True)
    finished = set[ssl.SSLObject]()
    for _ in range(6):
        for side in {client_side, server_side_object} - finished:
            try:
                side.do_handshake()
                finished.add(side)
            except ssl.SSLWantReadError:
                pass
    assert finished == {client_side, server_side_object}
    return server_side_object


def is_accepted(
    server: TlsContextFactory, folder: Path, client_name: str, version: ssl.TLSVersion | None = None
) -> bool:
    try:
        return server.san_allowed(handshake(server, folder, client_name, version))
    except ssl.SSLError:
        return False


def test_only_policies_that_verify_are_supported() -> None:
    assert set(VERIFY_MODES) == {"NoClientCert", "VerifyClientCertIfGiven", "RequireAndVerifyClientCert"}


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize(
    ("policy", "accepted"),
    [
        ("NoClientCert", {NO_CERT, SELF_SIGNED, SIGNED}),
        ("VerifyClientCertIfGiven", {NO_CERT, SIGNED}),
        ("RequireAndVerifyClientCert", {SIGNED}),
    ],
)
def test_client_auth_type_decides_which_clients_are_accepted(
    folder: Path, policy: str, accepted: set[str], version: ssl.TLSVersion
) -> None:
    authority = {} if policy == "NoClientCert" else {"client_ca_file": "ca.pem"}
    server = tls(folder, client_auth_type=policy, **authority)
    for client_name in (NO_CERT, SELF_SIGNED, SIGNED):
        assert is_accepted(server, folder, client_name, version) == (client_name in accepted), client_name


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
def test_client_needs_an_allowed_san(folder: Path, allowed: str, accepted: bool) -> None:
    authority = {"client_auth_type": "RequireAndVerifyClientCert", "client_ca_file": "ca.pem"}
    assert is_accepted(tls(folder, **authority, client_allowed_sans=(allowed,)), folder, SIGNED) == accepted


def test_certificate_without_sans_is_not_allowed(folder: Path) -> None:
    # Self-signed: verified by a CA file that has it.
    authority = {"client_auth_type": "RequireAndVerifyClientCert", "client_ca_file": "self-signed.pem"}
    assert is_accepted(tls(folder, **authority), folder, SELF_SIGNED)
    assert not is_accepted(
        tls(folder, **authority, client_allowed_sans=("self-signed",)), folder, SELF_SIGNED
    )


@pytest.mark.parametrize(("least", "old", "new"), [("TLS12", True, True), ("TLS13", False, True)])
def test_min_version(folder: Path, least: str, old: bool, new: bool) -> None:
    server = tls(folder, min_version=least)
    assert is_accepted(server, folder, NO_CERT, ssl.TLSVersion.TLSv1_2) == old
    assert is_accepted(server, folder, NO_CERT, ssl.TLSVersion.TLSv1_3) == new


def test_max_version(folder: Path) -> None:
    server = tls(folder, max_version="TLS12")
    assert handshake(server, folder).version() == "TLSv1.2"
    assert not is_accepted(server, folder, NO_CERT, ssl.TLSVersion.TLSv1_3)


def test_inline_pem(folder: Path) -> None:
    inline = TlsServerConfig(
        cert=(folder / "server.pem").read_text(),
        key=(folder / "server.key").read_text(),
        client_ca=(folder / "ca.pem").read_text(),
        client_auth_type="RequireAndVerifyClientCert",
    )
    assert is_accepted(TlsContextFactory(inline, Path("/nowhere")), folder, SIGNED)


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
        ({"key_file": "locked.key"}, "the key is encrypted; it must not have a passphrase"),
        (
            {"client_auth_type": "RequireAndVerifyClientCert", "client_ca_file": "server.key"},
            r"client_ca_file: /.*server\.key: no certificate in PEM",
        ),
    ],
)
def test_error_names_the_unusable_file(folder: Path, settings: dict[str, object], problem: str) -> None:
    with pytest.raises(ValueError, match=rf"^tls_server_config[.:] ?.*{problem}"):
        tls(folder, **settings)


class TestReload:
    @pytest.fixture
    def live(self, folder: Path, tmp_path: Path) -> Certificate:
        shutil.copy(folder / "ca.pem", tmp_path)
        shutil.copy(folder / "server.pem", tmp_path)
        shutil.copy(folder / "server.key", tmp_path)
        return Certificate(tmp_path / "server.pem", tmp_path / "server.key")

    @staticmethod
    def served(server: TlsContextFactory, folder: Path) -> object:
        """Return the serial number of the certificate that clients receive."""
        client = ssl.create_default_context(cafile=str(folder / "ca.pem"))
        to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
        client_side = client.wrap_bio(to_client, to_server, server_hostname="localhost")
        server_side_object = server.context().wrap_bio(to_server, to_client, server_side=True)
        for side in (client_side, server_side_object, client_side):
            with contextlib.suppress(ssl.SSLWantReadError):
                side.do_handshake()
        certificate = client_side.getpeercert()
        assert certificate
        return certificate["serialNumber"]

    def test_changed_certificate_is_used_from_the_next_handshake(
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

    @pytest.mark.skipif(sys.platform == "win32", reason="no resource limits")
    def test_temporarily_unreadable_certificate_is_used_later(self, folder: Path, live: Certificate) -> None:
        import resource

        server = tls(live.cert.parent)
        old = self.served(server, folder)
        shutil.copy(folder / "other.pem", live.cert)
        shutil.copy(folder / "other.key", live.key)
        limit, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, most))
        try:
            context = server.context()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, most))
        assert server.context() is not context
        assert self.served(server, folder) != old

    def test_missing_file_keeps_the_previous_certificate(self, folder: Path, live: Certificate) -> None:
        server = tls(live.cert.parent)
        old = self.served(server, folder)
        live.key.unlink()
        assert self.served(server, folder) == old
