"""Basic authentication: results, cost and caches."""

from __future__ import annotations

import asyncio
import base64
from typing import Final

import bcrypt
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from exporter.http import basic_auth
from exporter.http.basic_auth import BasicAuth, TooManyPendingError

# The lowest cost, because these tests do not measure time.
SALT: Final = b"$2b$04$abcdefghijklmnopqrstuu"
HASHES: Final = {
    "prometheus": bcrypt.hashpw(b"secret", SALT).decode(),
    "longest": bcrypt.hashpw(b"x" * 72, SALT).decode(),
    "ümläut": bcrypt.hashpw("pässwörd".encode(), SALT).decode(),
    "colon": bcrypt.hashpw(b"a:b", SALT).decode(),
    "": bcrypt.hashpw(b"empty name", SALT).decode(),
}
GOOD: Final = HASHES["prometheus"]


class RecordingCheck(list[bytes]):
    """bcrypt.checkpw that records the hashes of its calls."""

    def __call__(self, password: bytes, hashed: bytes) -> bool:
        self.append(hashed)
        return bcrypt.checkpw(password, hashed)


@pytest.fixture
def checked(monkeypatch: pytest.MonkeyPatch) -> RecordingCheck:
    checked = RecordingCheck()
    monkeypatch.setattr(basic_auth, "_matches", checked)
    return checked


def basic(name: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


def authenticate(auth: BasicAuth, *authorizations: str) -> list[bool]:
    async def in_turn() -> list[bool]:
        return [await auth.authenticate(authorization) for authorization in authorizations]

    return asyncio.run(in_turn())


@pytest.mark.parametrize(
    ("name", "password", "authenticated"),
    [
        ("prometheus", "secret", True),
        ("prometheus", "Secret", False),
        ("prometheus", "", False),
        ("Prometheus", "secret", False),
        ("unknown", "secret", False),
        ("longest", "x" * 72, True),
        ("longest", "x" * 73, False),
        ("prometheus", "x" * 100_000, False),
        ("ümläut", "pässwörd", True),
        ("colon", "a:b", True),
        ("", "empty name", True),
        ("prometheus", "secret\0", False),
    ],
)
def test_only_the_correct_password_authenticates(name: str, password: str, authenticated: bool) -> None:
    assert authenticate(BasicAuth(HASHES), basic(name, password)) == [authenticated]


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Basic",
        "Basic ",
        "Basic !",
        "Basic cHJvbWV0aGV1cw==",
        "Bearer x",
        basic("prometheus", "secret")[6:],
        basic("prometheus", "secret") + ", Basic",
        "Basic \xff",
        "Basic =",
        "Digest username=prometheus",
    ],
)
def test_malformed_header_is_refused_without_bcrypt(authorization: str, checked: RecordingCheck) -> None:
    assert authenticate(BasicAuth(HASHES), authorization) == [False]
    assert checked == []


def test_scheme_is_case_insensitive() -> None:
    assert authenticate(BasicAuth(HASHES), basic("prometheus", "secret").replace("Basic", "bASIC")) == [True]


@given(st.text())
@example("Basic \ud800")
def test_no_header_raises_an_exception(authorization: str) -> None:
    assert authenticate(BasicAuth({"a": HASHES["prometheus"]}), authorization) == [False]


def test_correct_and_wrong_results_are_cached(checked: RecordingCheck) -> None:
    auth = BasicAuth(HASHES)
    right, wrong = basic("prometheus", "secret"), basic("prometheus", "guess")
    assert authenticate(auth, right, right, wrong, wrong, right) == [True, True, False, False, True]
    assert len(checked) == 2


def test_unknown_user_costs_as_much_as_a_known_one(checked: RecordingCheck) -> None:
    auth = BasicAuth({"prometheus": HASHES["prometheus"]})
    assert authenticate(auth, basic("unknown", "secret"), basic("unknown", "secret")) == [False, False]
    assert len(checked) == 1
    assert bcrypt.checkpw(b"", checked[0]) is False
    assert checked[0][:7] == HASHES["prometheus"].encode()[:7], "the same cost"


def test_guesses_do_not_evict_correct_results(checked: RecordingCheck) -> None:
    auth = BasicAuth(HASHES)
    right = basic("prometheus", "secret")
    guesses = [basic("prometheus", f"guess {number}") for number in range(120)]
    authenticate(auth, right, *guesses)
    checked_before = len(checked)
    assert authenticate(auth, right) == [True]
    assert len(checked) == checked_before == 121


def test_results_of_100_wrong_passwords_are_cached(checked: RecordingCheck) -> None:
    auth = BasicAuth(HASHES)
    guesses = [basic("prometheus", f"guess {number}") for number in range(100)]
    authenticate(auth, *guesses, *guesses)
    assert len(checked) == 100
    authenticate(auth, basic("prometheus", "another guess"), *guesses)
    assert len(checked) > 101, "none was evicted"


def test_no_password_is_cached_in_plain(checked: RecordingCheck) -> None:
    auth = BasicAuth(HASHES)
    authenticate(auth, basic("prometheus", "secret"), basic("prometheus", "guess"))
    assert len(checked) == 2
    attributes = repr(vars(auth))
    assert "b'secret'" not in attributes
    assert "guess" not in attributes


def test_concurrent_equal_requests_are_verified_once(checked: RecordingCheck) -> None:
    async def together() -> list[bool]:
        auth = BasicAuth(HASHES)
        return await asyncio.gather(*(auth.authenticate(basic("prometheus", "secret")) for _ in range(10)))

    assert asyncio.run(together()) == [True] * 10
    assert len(checked) == 1


def test_pending_requests_are_limited(checked: RecordingCheck) -> None:
    async def together() -> list[bool | BaseException]:
        auth = BasicAuth(HASHES)
        guesses = (auth.authenticate(basic("prometheus", f"guess {number}")) for number in range(37))
        return await asyncio.gather(*guesses, return_exceptions=True)

    results = asyncio.run(together())
    assert results.count(False) == len(checked) == 32
    assert sum(isinstance(result, TooManyPendingError) for result in results) == 5


@pytest.mark.parametrize(
    "hashed",
    [
        "",
        "secret",
        "$2b$10$short",
        GOOD[:-1],
        GOOD + "x",
        "$1$salt$md5crypt",
        "$2b$03$" + GOOD[7:],
        GOOD[:28] + "/" + GOOD[29:],
        "ü" * 60,
    ],
)
def test_invalid_hash_is_an_error_that_does_not_show_it(hashed: str) -> None:
    with pytest.raises(
        ValueError, match=r"^basic_auth_users\.alice: not a bcrypt hash; make one with: "
    ) as error:
        BasicAuth({"alice": hashed})
    assert not hashed or hashed not in str(error.value)


@pytest.mark.parametrize("kind", ["2a", "2b", "2y"])
def test_all_bcrypt_prefixes_are_supported(kind: str) -> None:
    auth = BasicAuth({"alice": f"${kind}{HASHES['prometheus'][3:]}"})
    assert authenticate(auth, basic("alice", "secret")) == [True]


def test_user_name_with_a_colon_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"^basic_auth_users\.a:b: a user name cannot contain a colon"):
        BasicAuth({"a:b": HASHES["prometheus"]})
