"""Users by bcrypt: who is admitted, what it costs, and what is remembered."""

from __future__ import annotations

import asyncio
import base64
from typing import Final

import bcrypt
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from exporter.exposition import web_users
from exporter.exposition.web_users import KEPT, WAITING, BusyError, Users

# The least cost: these tests are not about time.
SALT: Final = b"$2b$04$abcdefghijklmnopqrstuu"
HASHES: Final = {
    "prometheus": bcrypt.hashpw(b"secret", SALT).decode(),
    "longest": bcrypt.hashpw(b"x" * 72, SALT).decode(),
    "ümläut": bcrypt.hashpw("pässwörd".encode(), SALT).decode(),
    "colon": bcrypt.hashpw(b"a:b", SALT).decode(),
    "": bcrypt.hashpw(b"nobody", SALT).decode(),
}
GOOD: Final = HASHES["prometheus"]


class Counted(list[bytes]):
    """The hashes that bcrypt was asked about."""

    def __call__(self, password: bytes, hashed: bytes) -> bool:
        self.append(hashed)
        return bcrypt.checkpw(password, hashed)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Counted:
    asked = Counted()
    monkeypatch.setattr(web_users, "_fits", asked)
    return asked


def basic(name: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


def admit(users: Users, *authorizations: str) -> list[bool]:
    async def one_after_the_other() -> list[bool]:
        return [await users.admit(each) for each in authorizations]

    return asyncio.run(one_after_the_other())


@pytest.mark.parametrize(
    ("name", "password", "admitted"),
    [
        ("prometheus", "secret", True),
        ("prometheus", "Secret", False),
        ("prometheus", "", False),
        ("Prometheus", "secret", False),
        ("nobody", "secret", False),
        ("longest", "x" * 72, True),
        ("longest", "x" * 73, False),
        ("prometheus", "x" * 100_000, False),
        ("ümläut", "pässwörd", True),
        ("colon", "a:b", True),
        ("", "nobody", True),
        ("prometheus", "secret\0", False),
    ],
)
def test_the_right_password_is_needed(name: str, password: str, admitted: bool) -> None:
    assert admit(Users(HASHES), basic(name, password)) == [admitted]


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
def test_a_header_that_is_none_is_no_user(authorization: str, asked: Counted) -> None:
    assert admit(Users(HASHES), authorization) == [False]
    assert asked == []


def test_the_scheme_s_case_does_not_matter() -> None:
    assert admit(Users(HASHES), basic("prometheus", "secret").replace("Basic", "bASIC")) == [True]


@given(st.text())
@example("Basic \ud800")
def test_whatever_the_header_is_it_is_no_failure(authorization: str) -> None:
    assert admit(Users({"a": HASHES["prometheus"]}), authorization) == [False]


def test_a_result_is_remembered_be_it_good_or_bad(asked: Counted) -> None:
    users = Users(HASHES)
    right, wrong = basic("prometheus", "secret"), basic("prometheus", "guess")
    assert admit(users, right, right, wrong, wrong, right) == [True, True, False, False, True]
    assert len(asked) == 2


def test_a_user_who_is_not_there_costs_the_same(asked: Counted) -> None:
    users = Users({"prometheus": HASHES["prometheus"]})
    assert admit(users, basic("nobody", "secret"), basic("nobody", "secret")) == [False, False]
    assert len(asked) == 1
    assert bcrypt.checkpw(b"", asked[0]) is False
    assert asked[0][:7] == HASHES["prometheus"].encode()[:7], "the same cost"


def test_guesses_push_out_nobody_who_is_known(asked: Counted) -> None:
    users = Users(HASHES)
    right = basic("prometheus", "secret")
    guesses = [basic("prometheus", f"guess {number}") for number in range(KEPT + 20)]
    admit(users, right, *guesses)
    before = len(asked)
    assert admit(users, right) == [True]
    assert len(asked) == before == KEPT + 21


def test_no_password_is_kept(asked: Counted) -> None:
    users = Users(HASHES)
    admit(users, basic("prometheus", "secret"), basic("prometheus", "guess"))
    assert len(asked) == 2
    kept = repr(vars(users))
    assert "b'secret'" not in kept
    assert "guess" not in kept


def test_those_who_ask_the_same_together_ask_once(asked: Counted) -> None:
    async def together() -> list[bool]:
        users = Users(HASHES)
        return await asyncio.gather(*(users.admit(basic("prometheus", "secret")) for _ in range(10)))

    assert asyncio.run(together()) == [True] * 10
    assert len(asked) == 1


def test_only_so_many_wait(asked: Counted) -> None:
    async def together() -> list[bool | BaseException]:
        users = Users(HASHES)
        guesses = (users.admit(basic("prometheus", f"guess {number}")) for number in range(WAITING + 5))
        return await asyncio.gather(*guesses, return_exceptions=True)

    answers = asyncio.run(together())
    assert answers.count(False) == WAITING == len(asked)
    assert sum(isinstance(each, BusyError) for each in answers) == 5


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
def test_a_hash_that_nobody_could_match_is_refused_without_showing_it(hashed: str) -> None:
    with pytest.raises(
        ValueError, match=r"^basic_auth_users\.alice: no bcrypt hash; make one with: "
    ) as error:
        Users({"alice": hashed})
    assert not hashed or hashed not in str(error.value)


@pytest.mark.parametrize("kind", ["2a", "2b", "2y"])
def test_every_kind_of_hash_is_known(kind: str) -> None:
    users = Users({"alice": f"${kind}{HASHES['prometheus'][3:]}"})
    assert admit(users, basic("alice", "secret")) == [True]


def test_a_name_with_a_colon_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^basic_auth_users\.a:b: a user's name has no colon"):
        Users({"a:b": HASHES["prometheus"]})
