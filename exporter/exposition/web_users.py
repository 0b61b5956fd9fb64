"""Users with bcrypt passwords (HTTP Basic authentication, RFC 7617).

bcrypt is slow on purpose, so results are kept, as Prometheus' exporter-toolkit keeps them.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
import random
import re
import secrets
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import bcrypt

KEPT: Final = 100
"""Results kept of each kind, right and wrong: guesses do not push out who is known."""
WAITING: Final = 32
"""Requests that may wait for bcrypt: two seconds of work, at the usual cost of 10."""

_HASH: Final = re.compile(r"\$2[aby]\$(0[4-9]|[12]\d|3[01])\$([./A-Za-z0-9]{22})[./A-Za-z0-9]{31}")
_MOST_BYTES: Final = 72


class BusyError(Exception):
    """So many wait for bcrypt already that this request had better come again."""


class Users:
    """Those who may ask, by the bcrypt hash of their password. Belongs to one event loop.

    Raises ValueError, `PLACE: PROBLEM`, for a name or hash that nobody could ever match.
    """

    def __init__(self, hashes: Mapping[str, str]) -> None:
        for name, hashed in hashes.items():
            _check(name, hashed)
        self._hashes = {name.encode(): hashed.encode() for name, hashed in hashes.items()}
        self._decoys = [_decoy(hashed) for hashed in self._hashes.values()]
        self._secret = secrets.token_bytes(32)
        self._right: dict[bytes, None] = {}
        self._wrong: dict[bytes, None] = {}
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="bcrypt")
        self._one_at_a_time = asyncio.Lock()
        self._waiting = 0

    async def admit(self, authorization: str) -> bool:
        """Whether the header Authorization has a user and the right password. Raises BusyError."""
        if (given := _credentials(authorization)) is None:
            return False
        name, password = given
        if len(password) > _MOST_BYTES:
            # bcrypt's limit: no hash is of such a password.
            return False
        hashed = self._hashes.get(name)
        key = self._digest(name, hashed or b"", password)
        if (known := self._known(key)) is None:
            known = await self._ask(key, password, hashed, self._decoy_of(name))
        return known

    async def _ask(self, key: bytes, password: bytes, hashed: bytes | None, decoy: bytes) -> bool:
        if self._waiting >= WAITING:
            raise BusyError
        self._waiting += 1
        try:
            async with self._one_at_a_time:
                if (known := self._known(key)) is None:
                    loop = asyncio.get_running_loop()
                    # A user who is not there costs the same.
                    fits = await loop.run_in_executor(self._worker, _fits, password, hashed or decoy)
                    known = fits and hashed is not None
                    self._keep(key, self._right if known else self._wrong)
        finally:
            self._waiting -= 1
        return known

    def _known(self, key: bytes) -> bool | None:
        if key in self._right:
            return True
        return False if key in self._wrong else None

    @staticmethod
    def _keep(key: bytes, results: dict[bytes, None]) -> None:
        if len(results) >= KEPT:
            # Random, so that nobody can choose what is forgotten.
            del results[random.choice(list(results))]  # noqa: S311  # no secret
        results[key] = None

    def _digest(self, *parts: bytes) -> bytes:
        """Stands for a user, hash and password in memory: without this process's secret it tells nothing."""
        message = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
        return hmac.digest(self._secret, message, "sha256")

    def _decoy_of(self, name: bytes) -> bytes:
        """Always the same for a name, and in all as dear as the hashes of users."""
        return self._decoys[self._digest(name)[0] % len(self._decoys)]


def _check(name: str, hashed: str) -> None:
    place = f"basic_auth_users.{name}"
    if ":" in name:
        raise ValueError(f"{place}: a user's name has no colon")
    found = _HASH.fullmatch(hashed)
    try:
        # At the least cost: only whether bcrypt can read the salt.
        usable = bool(found and bcrypt.hashpw(b"", f"$2b$04${found[2]}".encode()))
    except ValueError:
        usable = False
    if not usable:
        raise ValueError(f"{place}: no bcrypt hash; make one with: htpasswd -nBC 10 '' | tr -d ':\\n'")


def _decoy(hashed: bytes) -> bytes:
    """A hash of the same cost."""
    return hashed[:7] + b"." * 53


def _fits(password: bytes, hashed: bytes) -> bool:
    try:
        return bcrypt.checkpw(password, hashed)
    except ValueError:
        # Such as a NUL, for some versions of bcrypt.
        return False


def _credentials(authorization: str) -> tuple[bytes, bytes] | None:
    scheme, _, encoded = authorization.strip().partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        name, colon, password = base64.b64decode(encoded.strip(), validate=True).partition(b":")
    except (binascii.Error, ValueError):
        return None
    return (name, password) if colon else None
