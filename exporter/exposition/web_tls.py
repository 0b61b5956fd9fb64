"""TLS contexts by exporter-toolkit's settings, made anew when a certificate's file has changed."""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import os
import ssl
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from ..config.web_config import TlsServerConfig
from ..log import LogOnChange, fields

logger: Final = logging.getLogger(__name__)

_VERSIONS: Final = {"TLS12": ssl.TLSVersion.TLSv1_2, "TLS13": ssl.TLSVersion.TLSv1_3}

VERIFY_MODES: Final = {
    "NoClientCert": ssl.CERT_NONE,
    "VerifyClientCertIfGiven": ssl.CERT_OPTIONAL,
    "RequireAndVerifyClientCert": ssl.CERT_REQUIRED,
}
"""The values of client_auth_type. Python always verifies a certificate that it asks for."""


class ServerTls:
    """How connections are encrypted and clients known.

    directory: what relative files of the settings are relative to. Raises ValueError, `PLACE: PROBLEM`, for
    files that cannot be used.
    """

    def __init__(self, settings: TlsServerConfig, directory: Path) -> None:
        self._settings = settings
        self._directory = directory
        self._verify_mode = VERIFY_MODES[settings.policy]
        self._allowed = settings.client_allowed_sans
        self._once = LogOnChange(logger)
        self._told = set[str]()
        self._stamp = self._stamp_now()
        self._context = self._build()

    def context(self) -> ssl.SSLContext:
        """The context for a new connection, with the certificates as they are now.

        Never raises: where new files cannot be used, which is logged once, the old ones hold.
        """
        stamp = self._stamp_now()
        if stamp != self._stamp:
            self._stamp = stamp
            self._renew()
        return self._context

    def admits(self, connection: ssl.SSLObject) -> bool:
        """Whether the certificate of this client, which has shaken hands, has a name that is allowed."""
        if self._allowed is None:
            return True
        certificate = connection.getpeercert() or {}
        names: Any = certificate.get("subjectAltName", ())
        return not {_plain(kind, name) for kind, name in names}.isdisjoint(self._allowed)

    def tell(self, failure: Exception | str, client: object) -> None:
        """Logs why TLS could not be agreed on with a client: each reason once, at level debug every time."""
        about = fields(reason=_reason(failure), client=client)
        # Who went away, or was cut off, has nothing to mend.
        news = isinstance(failure, ssl.SSLError | str) and _reason(failure) not in self._told
        if news:
            self._told.add(_reason(failure))
            logger.info("TLS handshake failed; others like it are logged at level debug", extra=about)
        else:
            logger.debug("TLS handshake failed", extra=about)

    def _renew(self) -> None:
        try:
            self._context = self._build()
        except ValueError as error:
            self._once.failing("files", f"Certificates not renewed, the old ones stay: {error}")
        else:
            self._once.recovered("files", "Certificates renewed")

    def _stamp_now(self) -> tuple[object, ...]:
        """What changes when a file does, be it written, replaced, or behind a symbolic link that moves."""
        stamp: list[object] = []
        for name in ("cert_file", "key_file", "client_ca_file"):
            if file := getattr(self._settings, name):
                try:
                    status = (self._directory / file).stat()
                except OSError as error:
                    stamp.append(error.errno)
                else:
                    stamp.append((status.st_mtime_ns, status.st_size, status.st_ino))
        return tuple(stamp)

    def _build(self) -> ssl.SSLContext:
        settings = self._settings
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = _VERSIONS[settings.min_tls_version]
        context.maximum_version = _VERSIONS[settings.max_tls_version]
        context.options |= ssl.OP_NO_RENEGOTIATION
        context.set_alpn_protocols(["http/1.1"])
        self._load_own(context)
        if self._verify_mode:
            self._load_authority(context)
        context.verify_mode = self._verify_mode
        return context

    def _load_own(self, context: ssl.SSLContext) -> None:
        with self._file("cert") as (place, cert), self._file("key") as (_, key):
            try:
                context.load_cert_chain(cert, key, password=_no_password)
            except ssl.SSLError as error:
                if error.reason == "KEY_VALUES_MISMATCH":
                    raise ValueError(f"{place}: the key does not belong to this certificate") from None
                raise ValueError(f"{place}: no certificate and key in PEM ({_reason(error)})") from None

    def _load_authority(self, context: ssl.SSLContext) -> None:
        if not (self._settings.client_ca or self._settings.client_ca_file):
            # As Go does: the authorities that this system trusts.
            context.load_default_certs(ssl.Purpose.CLIENT_AUTH)
            return
        with self._file("client_ca") as (place, file):
            try:
                context.load_verify_locations(cafile=file)
            except ssl.SSLError as error:
                raise ValueError(f"{place}: no certificate in PEM ({_reason(error)})") from None

    @contextlib.contextmanager
    def _file(self, name: str) -> Iterator[tuple[str, str]]:
        """The place of a setting, and a file with what it says: OpenSSL wants files."""
        text: str | None = getattr(self._settings, name)
        if text:
            with _hidden_file(text) as path:
                yield f"tls_server_config.{name}", path
            return
        path = str(self._directory / getattr(self._settings, f"{name}_file"))
        place = f"tls_server_config.{name}_file: {path}"
        try:
            with open(path, "rb"):  # noqa: PTH123  # OpenSSL's own error names no file
                pass
        except OSError as error:
            raise ValueError(f"{place}: {error.strerror}") from None
        yield place, path


@contextlib.contextmanager
def _hidden_file(text: str) -> Iterator[str]:
    """A file with this text for a moment: in memory, where the system can, for it may be a key."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("pem")
        try:
            os.write(descriptor, text.encode())
            yield f"/proc/self/fd/{descriptor}"
        finally:
            os.close(descriptor)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "pem")
        path.write_text(text, encoding="utf-8")
        yield str(path)


def _no_password() -> str:
    """Instead of OpenSSL's asking the terminal."""
    raise ValueError("tls_server_config: the key is encrypted; it has to be without a passphrase")


def _plain(kind: str, name: str) -> str:
    if kind == "IP Address":
        with contextlib.suppress(ValueError):
            return str(ipaddress.ip_address(name))
    return name


def _reason(failure: Exception | str) -> str:
    if isinstance(failure, ssl.SSLError):
        return (failure.reason or failure.strerror or "unknown").lower().replace("_", " ")
    return str(failure)
