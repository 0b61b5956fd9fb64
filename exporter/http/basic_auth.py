"""HTTP Basic authentication (RFC 7617) against bcrypt hashes.

bcrypt is slow by design; results are cached, as in Prometheus' exporter-toolkit.
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
"""bcrypt's limit: no hash is of a longer password."""


class TooManyPendingError(Exception):
    """The limit of requests that wait for bcrypt is reached; the client should retry later."""


class BasicAuth:
    """Users and the bcrypt hashes of their passwords. Belongs to one event loop.

    Raises ValueError, `PLACE: PROBLEM`, for a name or a hash that no request can match.
    """

    def __init__(self, hashes: Mapping[str, str], limits: ServerLimits = DEFAULT_LIMITS) -> None:
        for name, hashed in hashes.items():
            _check(name, hashed)
        self._hashes = {name.encode(): hashed.encode() for name, hashed in hashes.items()}
        self._decoys = [_decoy(hashed) for hashed in self._hashes.values()]
        self._secret = secrets.token_bytes(32)
        self._cache_size = limits.auth_cache_size
        # By digest. Wrong passwords have a cache of their own, so that guesses do not evict known users.
        self._correct: dict[bytes, None] = {}
        self._wrong: dict[bytes, None] = {}
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="bcrypt")
        self._lock = asyncio.Lock()
        self._max_pending = limits.max_pending_auth
        self._pending = 0

    async def authenticate(self, authorization: str) -> bool:
        """Return whether an Authorization header has a user and the correct password.

        Raises TooManyPendingError.
        """
        if (credentials := _parse_credentials(authorization)) is None:
            return False
        name, password = credentials
        if len(password) > _MAX_PASSWORD_BYTES:
            return False
        hashed = self._hashes.get(name)
        key = self._digest(name, hashed or b"", password)
        if (cached := self._cached(key)) is not None:
            return cached
        return await self._verify(key, password, hashed, self._decoy_for(name))

    async def _verify(self, key: bytes, password: bytes, hashed: bytes | None, decoy: bytes) -> bool:
        if self._pending >= self._max_pending:
            raise TooManyPendingError
        self._pending += 1
        try:
            async with self._lock:
                # Another request can have verified it while this one waited.
                if (cached := self._cached(key)) is not None:
                    return cached
                loop = asyncio.get_running_loop()
                # An unknown user takes as long as a known one.
                matches = await loop.run_in_executor(self._executor, _matches, password, hashed or decoy)
                correct = matches and hashed is not None
                self._cache(key, self._correct if correct else self._wrong)
                return correct
        finally:
            self._pending -= 1

    def _cached(self, key: bytes) -> bool | None:
        if key in self._correct:
            return True
        return False if key in self._wrong else None

    def _cache(self, key: bytes, results: dict[bytes, None]) -> None:
        if len(results) >= self._cache_size:
            # Random, so that clients cannot choose which result is evicted.
            del results[random.choice(list(results))]  # noqa: S311  # not a secret
        results[key] = None

    def _digest(self, *parts: bytes) -> bytes:
        """Return the cache key of a user, hash and password, which reveals none without the secret."""
        message = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
        return hmac.digest(self._secret, message, "sha256")

    def _decoy_for(self, name: bytes) -> bytes:
        """Return the hash to verify for an unknown user: the same each time, of the cost of a real one."""
        return self._decoys[self._digest(name)[0] % len(self._decoys)]


def _check(name: str, hashed: str) -> None:
    place = f"basic_auth_users.{name}"
    if ":" in name:
        raise ValueError(f"{place}: a user name cannot contain a colon")
    found = _HASH.fullmatch(hashed)
    try:
        # At the lowest cost, 4: this checks only that bcrypt can read the salt.
        usable = bool(found and bcrypt.hashpw(b"", f"$2b$04${found[2]}".encode()))
    except ValueError:
        usable = False
    if not usable:
        raise ValueError(f"{place}: not a bcrypt hash; make one with: htpasswd -nBC 10 '' | tr -d ':\\n'")


def _decoy(hashed: bytes) -> bytes:
    """Return a hash of the same cost that no password matches."""
    return hashed[:7] + b"." * 53


def _matches(password: bytes, hashed: bytes) -> bool:
    try:
        return bcrypt.checkpw(password, hashed)
    except ValueError:
        # Some versions of bcrypt refuse a password with a NUL byte.
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
