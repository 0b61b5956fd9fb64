"""Certificates for tests, made by openssl: a certificate authority, and certificates that it signs."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Certificate:
    """The files of a certificate and its key."""

    cert: Path
    key: Path


class Authority:
    """A certificate authority that writes its files to a folder."""

    def __init__(self, folder: Path, name: str = "ca") -> None:
        self._folder = folder
        self.own = self_signed(folder, name)

    def sign(self, name: str, *names: str, passphrase: str = "") -> Certificate:
        """Sign a new certificate. names: subject alternative names, such as DNS:localhost."""
        certificate = Certificate(self._folder / f"{name}.pem", self._folder / f"{name}.key")
        request = self._folder / f"{name}.csr"
        secret = ("-passout", f"pass:{passphrase}") if passphrase else ("-nodes",)
        output = ("-keyout", certificate.key, "-out", request)
        openssl("req", *_NEW_KEY, *secret, *output, "-subj", f"/CN={name}")
        extensions = self._folder / f"{name}.ext"
        extensions.write_text(_LEAF.format(names=",".join(names or ("DNS:localhost", "IP:127.0.0.1"))))
        signer = ("-CA", self.own.cert, "-CAkey", self.own.key, "-CAcreateserial")
        files = ("-in", request, "-extfile", extensions, "-out", certificate.cert)
        openssl("x509", "-req", *files, *signer, "-days", "2")
        return certificate


def self_signed(folder: Path, name: str) -> Certificate:
    """Make a self-signed certificate."""
    certificate = Certificate(folder / f"{name}.pem", folder / f"{name}.key")
    files = (
        "-keyout",
        certificate.key,
        "-out",
        certificate.cert,
        "-addext",
        "keyUsage=critical,keyCertSign,digitalSignature",
    )
    openssl("req", "-x509", *_NEW_KEY, "-nodes", *files, "-days", "2", "-subj", f"/CN={name}")
    return certificate


# Python 3.13 and later require all extensions of RFC 5280.
_LEAF = """
basicConstraints=critical,CA:FALSE
subjectKeyIdentifier=hash
authorityKeyIdentifier=keyid
subjectAltName={names}
"""
_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1")


def openssl(*words: str | Path) -> None:
    subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True, timeout=60)
