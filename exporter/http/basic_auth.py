"""HTTP Basic authentication (RFC 7617) against bcrypt hashes.

bcrypt is slow by design: results are cached, as in exporter-toolkit.
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

from .limits import DEFAULT_LIMITS, ServerLimits

_HASH: Final = re.compile(r"\$2[aby]\$(0[4-9]|[12]\d|3[01])\$([./A-Za-z0-9]{22})[./A-Za-z0-9]{31}")
_MAX_PASSWORD_BYTES: Final = 72
"""Limit of bcrypt: no hash can match a longer password."""


class TooManyPendingError(Exception):
    """Too many requests are waiting for bcrypt; the client should retry later."""


class BasicAuth:
    """Users and the bcrypt hashes of their passwords. To be used in one event loop.

    hashes: user name -> bcrypt hash. Raises ValueError(`PLACE: PROBLEM`) for a name or a hash that no request
    can match.
    """

    def __init__(self, hashes: Mapping[str, str], limits: ServerLimits = DEFAULT_LIMITS) -> None:
        for name, hashed in hashes.items():
            _check_user(name, hashed)
        self._hashes = {name.encode(): hashed.encode() for name, hashed in hashes.items()}
        self._dummy_hashes = [_make_decoy(hashed) for hashed in self._hashes.values()]
        self._secret = secrets.token_bytes(32)
        self._cache_size = limits.auth_cache_size
        # Keyed by _digest(). Wrong passwords have a separate cache, so that guesses do not evict known users.
        self._correct: dict[bytes, None] = {}
        self._wrong: dict[bytes, None] = {}
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="bcrypt")
        self._lock = asyncio.Lock()
        self._max_pending = limits.max_pending_auth
        self._pending = 0

    async def authenticate(self, authorization: str) -> bool:
        """Return whether an Authorization header has the name of a user and the correct password.

        Raises TooManyPendingError.
        """
        if (credentials := _parse_credentials(authorization)) is None:
            return False
        name, password = credentials
        if len(password) > _MAX_PASSWORD_BYTES:
            return False
        hashed = self._hashes.get(name)
        key = self._digest(name, hashed or b"", password)
        if (cached := self._cached_result(key)) is not None:
            return cached
        return await self._verify(key, password, hashed, self._dummy_hash_for(name))

    async def _verify(self, key: bytes, password: bytes, hashed: bytes | None, decoy: bytes) -> bool:
        if self._pending >= self._max_pending:
            raise TooManyPendingError
        self._pending += 1
        try:
            async with self._lock:
                # Another request may have verified the same password in the meantime.
                if (cached := self._cached_result(key)) is not None:
                    return cached
                loop = asyncio.get_running_loop()
                # With a decoy, an unknown user takes as long as a known one.
                matches = await loop.run_in_executor(self._executor, _matches, password, hashed or decoy)
                correct = matches and hashed is not None
                self._store_result(key, self._correct if correct else self._wrong)
                return correct
        finally:
            self._pending -= 1

    def _cached_result(self, key: bytes) -> bool | None:
        if key in self._correct:
            return True
        return False if key in self._wrong else None

    def _store_result(self, key: bytes, results: dict[bytes, None]) -> None:
        if len(results) >= self._cache_size:
            # Random, so that clients cannot choose which result is evicted.
            del results[random.choice(list(results))]  # noqa: S311  # not a secret
        results[key] = None

    def _digest(self, *parts: bytes) -> bytes:
        """Return a cache key for user, hash and password, which does not reveal them without the secret."""
        message = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
        return hmac.digest(self._secret, message, "sha256")

    def _dummy_hash_for(self, name: bytes) -> bytes:
        """Return the hash to verify for an unknown user, with the cost of a real one."""
        return self._dummy_hashes[self._digest(name)[0] % len(self._dummy_hashes)]


def _check_user(name: str, hashed: str) -> None:
    place = f"basic_auth_users.{name}"
    if ":" in name:
        raise ValueError(f"{place}: a user name cannot contain a colon")
    found = _HASH.fullmatch(hashed)
    try:
        # With the lowest cost, 4: this only checks that bcrypt accepts the salt.
        usable = bool(found and bcrypt.hashpw(b"", f"$2b$04${found[2]}".encode()))
    except ValueError:
        usable = False
    if not usable:
        raise ValueError(f"{place}: not a bcrypt hash; make one with: htpasswd -nBC 10 '' | tr -d ':\\n'")


def _make_decoy(hashed: bytes) -> bytes:
    """Return a hash with the same cost that no password matches."""
    return hashed[:7] + b"." * 53


def _matches(password: bytes, hashed: bytes) -> bool:
    try:
        return bcrypt.checkpw(password, hashed)
    except ValueError:
        # Some versions of bcrypt raise it for a password with a NUL byte.
        return False


def _parse_credentials(authorization: str) -> tuple[bytes, bytes] | None:
    scheme, _, encoded = authorization.strip().partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        name, colon, password = base64.b64decode(encoded.strip(), validate=True).partition(b":")
    except (binascii.Error, ValueError):
        return None
    return (name, password) if colon else None
