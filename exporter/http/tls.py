"""TLS contexts by exporter-toolkit's settings, reloaded when a certificate file changes."""

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
"""client_auth_type -> verify mode. Python always verifies a certificate that it requests."""


class TlsContextFactory:
    """Makes the TLS context of each connection, and checks client certificates.

    directory: base of relative paths in the settings. Raises ValueError(`PLACE: PROBLEM`) for files that
    cannot be used.
    """

    def __init__(self, settings: TlsServerConfig, directory: Path) -> None:
        self._settings = settings
        self._directory = directory
        self._log = LogOnChange(logger)
        self._logged_reasons = set[str]()
        self._fingerprint = self._current_fingerprint()
        self._context = self._build()

    def context(self) -> ssl.SSLContext:
        """Return the context for a new connection, with the current certificates.

        Never raises: if changed files cannot be used, that is logged, and the previous ones stay in use.
        """
        fingerprint = self._current_fingerprint()
        if fingerprint != self._fingerprint:
            self._reload(fingerprint)
        return self._context

    def san_allowed(self, ssl_object: ssl.SSLObject) -> bool:
        """Return whether the client's certificate has one of the allowed subject alternative names.

        ssl_object: after the handshake.
        """
        allowed = self._settings.client_allowed_sans
        if allowed is None:
            return True
        certificate = ssl_object.getpeercert() or {}
        sans: Any = certificate.get("subjectAltName", ())
        return not {_normalize_san(kind, san) for kind, san in sans}.isdisjoint(allowed)

    def log_handshake_failure(self, failure: Exception | str, client: object) -> None:
        """Log a failed handshake: the first failure for each reason at level info, others at debug."""
        reason = _failure_reason(failure)
        # An operator cannot fix connections that are lost or time out: they are logged at debug only.
        is_new = isinstance(failure, ssl.SSLError | str) and reason not in self._logged_reasons
        details = fields(reason=reason, client=client)
        if is_new:
            self._logged_reasons.add(reason)
            logger.info(
                "TLS handshake failed (further failures with this reason are logged at debug)", extra=details
            )
        else:
            logger.debug("TLS handshake failed", extra=details)

    def _reload(self, fingerprint: tuple[object, ...]) -> None:
        try:
            self._context = self._build()
        # OSError: no file descriptor is free.
        except (OSError, ValueError) as error:
            # Tried again at the next connection: changed permissions do not change the fingerprint.
            message = f"Error reloading TLS certificates, keeping the previous ones: {error}"
            self._log.failing("certificates", message)
        else:
            self._fingerprint = fingerprint
            self._log.recovered("certificates", "TLS certificates reloaded")

    def _current_fingerprint(self) -> tuple[object, ...]:
        """Return a value that changes when a file or a symbolic link to it is written or replaced."""
        fingerprint: list[object] = []
        for name in ("cert_file", "key_file", "client_ca_file"):
            if file := getattr(self._settings, name):
                try:
                    status = (self._directory / file).stat()
                except OSError as error:
                    fingerprint.append(error.errno)
                else:
                    fingerprint.append((status.st_mtime_ns, status.st_size, status.st_ino))
        return tuple(fingerprint)

    def _build(self) -> ssl.SSLContext:
        settings = self._settings
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = _VERSIONS[settings.min_tls_version]
        context.maximum_version = _VERSIONS[settings.max_tls_version]
        context.options |= ssl.OP_NO_RENEGOTIATION
        context.set_alpn_protocols(["http/1.1"])
        self._load_server_certificate(context)
        context.verify_mode = VERIFY_MODES[settings.policy]
        if context.verify_mode:
            self._load_client_ca(context)
        return context

    def _load_server_certificate(self, context: ssl.SSLContext) -> None:
        with self._file("cert") as (place, cert), self._file("key") as (_, key):
            try:
                context.load_cert_chain(cert, key, password=_refuse_password)
            except ssl.SSLError as error:
                if error.reason == "KEY_VALUES_MISMATCH":
                    raise ValueError(f"{place}: the key does not belong to this certificate") from None
                raise ValueError(
                    f"{place}: no certificate and key in PEM ({_failure_reason(error)})"
                ) from None

    def _load_client_ca(self, context: ssl.SSLContext) -> None:
        if not (self._settings.client_ca or self._settings.client_ca_file):
            # As in Go, the default is the CAs that this system trusts.
            context.load_default_certs(ssl.Purpose.CLIENT_AUTH)
            return
        with self._file("client_ca") as (place, file):
            try:
                context.load_verify_locations(cafile=file)
            except ssl.SSLError as error:
                raise ValueError(f"{place}: no certificate in PEM ({_failure_reason(error)})") from None

    @contextlib.contextmanager
    def _file(self, name: str) -> Iterator[tuple[str, str]]:
        """Yield the place of a setting, for errors, and the path of a file with its text, for OpenSSL."""
        text: str | None = getattr(self._settings, name)
        if text:
            with _memory_file(text) as path:
                yield f"tls_server_config.{name}", path
            return
        path = str(self._directory / getattr(self._settings, f"{name}_file"))
        place = f"tls_server_config.{name}_file: {path}"
        try:
            with open(path, "rb"):  # noqa: PTH123  # OpenSSL's own error does not name the file
                pass
        except OSError as error:
            raise ValueError(f"{place}: {error.strerror}") from None
        yield place, path


@contextlib.contextmanager
def _memory_file(text: str) -> Iterator[str]:
    """Yield the path of a temporary file with this text, in memory if possible: the text may be a key."""
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("pem")
        try:
            os.write(fd, text.encode())
            yield f"/proc/self/fd/{fd}"
        finally:
            os.close(fd)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "pem")
        path.write_text(text, encoding="utf-8")
        yield str(path)


def _refuse_password() -> str:
    """Raise ValueError. OpenSSL calls this instead of prompting for a passphrase."""
    raise ValueError("tls_server_config: the key is encrypted; it must not have a passphrase")


def _normalize_san(san_type: str, san: str) -> str:
    if san_type == "IP Address":
        with contextlib.suppress(ValueError):
            return str(ipaddress.ip_address(san))
    return san


def _failure_reason(failure: Exception | str) -> str:
    if isinstance(failure, ssl.SSLError):
        return (failure.reason or failure.strerror or "unknown").lower().replace("_", " ")
    return str(failure)
