"""Certificates for tests, made by openssl: an authority, and certificates that it signs."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Certificate:
    """A certificate and its key, as files."""

    cert: Path
    key: Path


class Authority:
    """Signs certificates, in a folder."""

    def __init__(self, folder: Path, name: str = "ca") -> None:
        self._folder = folder
        self.own = self_signed(folder, name)

    def sign(self, name: str, *names: str, passphrase: str = "") -> Certificate:
        """names: subject alternative names, such as DNS:localhost."""
        made = Certificate(self._folder / f"{name}.pem", self._folder / f"{name}.key")
        request = self._folder / f"{name}.csr"
        secret = ("-passout", f"pass:{passphrase}") if passphrase else ("-nodes",)
        openssl("req", *_NEW_KEY, *secret, "-keyout", made.key, "-out", request, "-subj", f"/CN={name}")
        extensions = self._folder / f"{name}.ext"
        extensions.write_text(_LEAF.format(names=",".join(names or ("DNS:localhost", "IP:127.0.0.1"))))
        signer = ("-CA", self.own.cert, "-CAkey", self.own.key, "-CAcreateserial")
        openssl(
            "x509", "-req", "-in", request, *signer, "-days", "2", "-extfile", extensions, "-out", made.cert
        )
        return made


def self_signed(folder: Path, name: str) -> Certificate:
    """A certificate that vouches for itself."""
    made = Certificate(folder / f"{name}.pem", folder / f"{name}.key")
    files = (
        "-keyout",
        made.key,
        "-out",
        made.cert,
        "-addext",
        "keyUsage=critical,keyCertSign,digitalSignature",
    )
    openssl("req", "-x509", *_NEW_KEY, "-nodes", *files, "-days", "2", "-subj", f"/CN={name}")
    return made


# Python 3.13 and later want all of RFC 5280.
_LEAF = """
basicConstraints=critical,CA:FALSE
subjectKeyIdentifier=hash
authorityKeyIdentifier=keyid
subjectAltName={names}
"""
_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1")


def openssl(*words: str | Path) -> None:
    subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True, timeout=60)
