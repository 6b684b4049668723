"""Basic and Jwt: what they take and refuse, and that they quote no secret."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import threading
import warnings
from pathlib import Path
from typing import Any

import pytest

from compactor import Request, Settings
from compactor.auth import Access, Basic, Jwt, Principal, Unauthorized, hash_password
from compactor.auth.guard import Guard, Lock
from compactor.auth.passwords import parse_hash
from compactor.errors import MissingPackage, SettingsError
from compactor.metrics.metrics import Metrics
from compactor.system import clock
from tests.actors import TIMEOUT

jwt = pytest.importorskip("jwt", reason="tokens are read by PyJWT")

KEY = "0123456789abcdef0123456789abcdef"
NOW = 1_800_000_000.0


def request(authorization: str | bytes | None, ip: str = "10.0.0.7") -> Request:
    value = authorization.encode("latin-1") if isinstance(authorization, str) else authorization
    fields = [] if value is None else [(b"authorization", value)]
    return Request("GET", "/a/b", headers=fields, peer=(ip, 1))


def basic(text: str | bytes) -> str:
    data = text if isinstance(text, bytes) else text.encode()
    return "Basic " + base64.b64encode(data).decode()


@pytest.fixture(autouse=True)
def now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "date", lambda: NOW)


# Basic


@pytest.mark.parametrize(
    ("given", "name"),
    [
        (basic("user:secret"), "user"),
        (basic("user:secret").replace("Basic", "BASIC"), "user"),
        (basic("user:secret").replace(" ", "  "), "user"),
        (basic("colons:a:b"), "colons"),
        (basic("ünï:pässword"), "ünï"),
        (None, None),
        ("", None),
        ("Basic", None),
        ("Basic ", None),
        ("Basic !!!", None),
        ("Basic " + "A" * 80_000, None),
        (basic("user"), None),
        (basic(":secret"), None),
        (basic("user:"), None),
        (basic("user:secret "), None),
        (basic("user:secre"), None),
        (basic("USER:secret"), None),
        (basic("nobody:secret"), None),
        (basic(b"\xff\xfe:secret"), None),
        (basic(b"user:secret\0"), None),
        (basic("user:" + "x" * 5000), None),
        ("Basic\tdXNlcjpzZWNyZXQ=", None),
        ("Basicx " + basic("user:secret").partition(" ")[2], None),
    ],
)
def test_names_and_passwords(given: str | None, name: str | None) -> None:
    users = Basic({"user": "secret", "colons": "a:b", "ünï": "pässword"})
    said = users.authenticate(request(given))
    assert said == Principal(name) if name else isinstance(said, Unauthorized)


def test_hashed_passwords_are_checked_in_a_thread_and_then_known() -> None:
    hashed = hash_password("secret")
    assert re.fullmatch(r"\$scrypt\$ln=14,r=8,p=1\$[\w+/]{22}\$[\w+/]{43}", hashed)
    assert hashed != hash_password("secret")
    users = Basic({"ann": hashed, "bob": "plain"})

    async def check() -> None:
        for text in ("ann:wrong", "nobody:secret"):  # who is not there takes as long
            said: Any = users.authenticate(request(basic(text)))
            assert isinstance(await said, Unauthorized)
        said = users.authenticate(request(basic("ann:secret")))
        assert (said if isinstance(said, Principal) else await said) == Principal("ann")
        assert users.authenticate(request(basic("ann:secret"))) == Principal("ann")
        said = users.authenticate(request(basic("ann:wrong")))
        assert isinstance(await said, Unauthorized)
        assert isinstance(users.authenticate(request(basic("bob:wrong"))), Unauthorized)

    asyncio.run(check())
    asyncio.run(check())  # on another loop


class Held:
    """A hash whose check of a wrong password takes as long as the test wants."""

    def __init__(self) -> None:
        self.goes_on = threading.Event()

    def matches(self, password: bytes) -> bool:
        return password == b"secret" or not self.goes_on.wait(TIMEOUT)


def test_who_guesses_waits_for_himself_and_not_others() -> None:
    users = Basic({"ann": _cheap("secret")})
    held = Held()
    users._hashed = {"ann": held}  # type: ignore[dict-item]
    order: list[str] = []

    async def check(ip: str, text: str) -> None:
        await users.authenticate(request(basic(text), ip))  # type: ignore[misc]
        order.append(ip)

    async def guess() -> None:
        guesses = [asyncio.ensure_future(check("evil", f"ann:{n}")) for n in range(50)]
        await asyncio.sleep(0)
        await asyncio.wait_for(check("good", "ann:secret"), TIMEOUT)
        assert order == ["good"]  # though the first guess is still looked at
        held.goes_on.set()
        for guess in guesses[::2]:
            guess.cancel()
        await asyncio.gather(*guesses, return_exceptions=True)
        (line,) = users._lines.values()
        assert line._turns == {}

    asyncio.run(guess())


def _cheap(password: str) -> str:
    import hashlib

    digest = hashlib.scrypt(password.encode(), salt=b"salt", n=2, r=1, p=1, dklen=32)
    text = base64.b64encode(digest).decode().rstrip("=")
    return f"$scrypt$ln=1,r=1,p=1${base64.b64encode(b'salt').decode().rstrip('=')}${text}"


def test_a_file_of_users_is_read_and_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "users"
    path.write_text(f"# who may\n\nann:{_cheap('secret')}\nbob:pass:word\n")
    users = Basic.from_file(path)
    assert users.authenticate(request(basic("bob:pass:word"))) == Principal("bob")
    path.write_text("ann:other\n")
    users.reload()
    assert isinstance(users.authenticate(request(basic("bob:pass:word"))), Unauthorized)
    assert users.authenticate(request(basic("ann:other"))) == Principal("ann")
    path.write_text("ann")
    with pytest.raises(SettingsError, match=r"line 1 of .* has no colon"):
        users.reload()
    assert users.authenticate(request(basic("ann:other"))) == Principal("ann")
    assert "other" not in repr(users)


SECRET = "hunter2-very-secret"


@pytest.mark.parametrize(
    "text",
    [
        SECRET,
        f"ann:{SECRET}\nann:{SECRET}",
        f"ann:$2y$10${SECRET}",
        f"ann:{{SHA}}{SECRET}",
        f"ann:$scrypt$ln=99,r=8,p=1${SECRET}",
        f"ann:$scrypt$ln=30,r=8,p=1$c2FsdA$c2FsdHNhbHRzYWx0c2FsdA{SECRET}",
        f"ann:{SECRET * 1000}",
        f"ann:\nbob:{SECRET}",
    ],
)
def test_bad_users_are_told_without_their_passwords(tmp_path: Path, text: str) -> None:
    path = tmp_path / "users"
    path.write_text(text)
    with pytest.raises(SettingsError) as told:
        Basic.from_file(path)
    assert SECRET not in str(told.value)
    assert told.value.__cause__ is None
    assert told.value.__suppress_context__ or told.value.__context__ is None


@pytest.mark.parametrize(
    "users", [None, "ann", ["ann"], {"": "x"}, {"a:b": "x"}, {"a": ""}, {"a": 1}, {1: "a"}]
)
def test_what_are_no_users(users: Any) -> None:
    with pytest.raises(SettingsError):
        Basic(users)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none", None):
        with pytest.raises(SettingsError, match="cannot be read"):
            Basic.from_file(path)  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="come from no file"):
        Basic({"a": "b"}).reload()


@pytest.mark.parametrize("password", ["", "x" * 1025, None, b"bytes"])
def test_what_is_no_password(password: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        hash_password(password)


def test_hashes_that_cost_too_much_are_none() -> None:
    ok = "$scrypt$ln=14,r=8,p=1$c2FsdA$" + "A" * 43
    assert parse_hash(ok) is not None
    assert "AAA" not in repr(parse_hash(ok))
    for bad in (ok.replace("14", "30"), ok.replace("p=1", "p=99"), ok.replace("r=8", "r=0")):
        assert parse_hash(bad) is None


# Jwt


def token(algorithm: str | None = "HS256", key: Any = KEY, **claims: Any) -> str:
    given = {"sub": "ann", "exp": NOW + 60, **claims}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return str(jwt.encode({n: v for n, v in given.items() if v is not None}, key, algorithm))


def part(value: Any) -> str:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def unsigned(algorithm: str) -> str:
    return f"{part({'alg': algorithm, 'typ': 'JWT'})}.{part({'sub': 'ann', 'exp': NOW + 60})}."


DEEP = part(b'{"a":' * 20_000)


TOKENS = [
    (token(), None),
    (token(exp=None), "a claim is missing"),
    (token(exp=NOW - 1), "it has expired"),
    (token(exp="soon"), "exp is no time"),
    (token(exp=True), "exp is no time"),
    (f"{token()}x", "its signature is wrong"),
    (token(nbf=NOW + 60), "it is not valid yet"),
    (token(nbf=NOW - 1), None),
    (token(nbf=[]), "nbf is no time"),
    (token(key="other" * 10), "its signature is wrong"),
    (token("HS512", "x" * 64), "its algorithm is not accepted"),
    (token(None, None), "its algorithm is not accepted"),
    (unsigned("none"), "its algorithm is not accepted"),
    (unsigned("None"), "its algorithm is not accepted"),
    (unsigned("HS256"), "its signature is wrong"),
    (token(aud="somebody"), "it is for somebody else"),
    ("", "it is malformed"),
    ("x", "it is malformed"),
    ("a.b.c", "it is malformed"),
    ("....", "it is malformed"),
    ("é.ü.ñ", "it is malformed"),
    (f"{DEEP}.{DEEP}.x", "it is malformed"),
    (
        jwt.encode({"sub": "ann", "exp": NOW + 60}, KEY, headers={"crit": ["b64"]}),
        "it is malformed",
    ),
    (f"{part({'alg': 'HS256'})}.{part([1])}.x", ""),
    (f"{part({'alg': ['HS256']})}.{part({})}.x", ""),
    ("x" * 70_000, "it is malformed"),
    ("." * 70_000, "it is malformed"),
]


@pytest.mark.parametrize(("given", "why"), TOKENS, ids=map(str, range(len(TOKENS))))
def test_tokens(given: str, why: str | None) -> None:
    said = Jwt(KEY, algorithms=["HS256"]).authenticate(request(f"Bearer {given}"))
    if why is None:
        assert isinstance(said, Principal)
        assert (said.value, said.claims["sub"]) == ("ann", "ann")
        return
    assert isinstance(said, Unauthorized)
    assert said.parameters["error"] == "invalid_token"
    if why:
        assert said.parameters["error_description"] == why
    assert len(given) < 5 or given not in repr(said)


def test_audiences_issuers_and_leeway() -> None:
    reader = Jwt(KEY, algorithms=["HS256"], audience=["a", "b"], issuer="me", require=[], leeway=30)

    def says(**claims: Any) -> str:
        said = reader.authenticate(request(f"bearer {token(**claims)}"))
        return "" if isinstance(said, Principal) else said.parameters["error_description"]

    assert says(aud="a", iss="me") == says(aud=["x", "b"], iss="me", exp=None) == ""
    assert says(aud="a", iss="me", exp=NOW - 20, nbf=NOW + 20) == ""
    assert says(aud="a", iss="me", exp=NOW - 60) == "it has expired"
    assert says(aud="c", iss="me") == "it is for somebody else"
    assert says(aud="a", iss="you") == "it is from somebody else"
    assert says(iss="me") == "a claim is missing"
    assert says(aud="a") == "a claim is missing"


def test_keys_by_their_kid() -> None:
    reader = Jwt({"old": KEY, "new": KEY[::-1]}, algorithms=["HS256"])
    for kid, key, is_right in (
        ("old", KEY, True),
        ("new", KEY[::-1], True),
        ("new", KEY, False),
        ("none", KEY, False),
        (None, KEY, False),
    ):
        headers = {} if kid is None else {"kid": kid}
        text = jwt.encode({"sub": "a", "exp": NOW + 60}, key, headers=headers)
        said = reader.authenticate(request(f"Bearer {text}"))
        assert isinstance(said, Principal) == is_right


def test_a_public_key_is_no_secret() -> None:
    rsa = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.rsa")
    from cryptography.hazmat.primitives import serialization

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    reader = Jwt(pem, algorithms=["RS256", "RS512"])
    assert isinstance(reader.authenticate(request(f"Bearer {token('RS256', key)}")), Principal)
    import hashlib
    import hmac

    body = f"{part({'alg': 'HS256', 'typ': 'JWT'})}.{part({'sub': 'ann', 'exp': NOW + 60})}"
    forged = f"{body}.{part(hmac.digest(pem, body.encode(), hashlib.sha256))}"
    said = reader.authenticate(request(f"Bearer {forged}"))
    assert isinstance(said, Unauthorized)
    with pytest.raises(SettingsError, match="one kind"):
        Jwt(pem, algorithms=["RS256", "HS256"])
    with pytest.raises(SettingsError, match="cannot be used for"):
        Jwt(pem, algorithms=["HS256"])


@pytest.mark.parametrize(
    ("key", "rest"),
    [
        (SECRET, {"algorithms": ["HS256"]}),
        (SECRET, {"algorithms": ["RS256"]}),
        (KEY, {"algorithms": []}),
        (KEY, {"algorithms": "HS256"}),
        (KEY, {"algorithms": ["none"]}),
        (KEY, {"algorithms": ["HS256", "none"]}),
        (KEY, {"algorithms": ["HS257"]}),
        (KEY, {"algorithms": [1]}),
        (KEY, {"algorithms": None}),
        ("", {"algorithms": ["HS256"]}),
        (None, {"algorithms": ["HS256"]}),
        ({}, {"algorithms": ["HS256"]}),
        (KEY, {"algorithms": ["HS256"], "leeway": -1}),
        (KEY, {"algorithms": ["HS256"], "require": "exp"}),
    ],
)
def test_what_cannot_verify_tokens(key: Any, rest: Any) -> None:
    with pytest.raises(SettingsError) as told:
        Jwt(key, **rest)
    assert SECRET not in str(told.value)
    assert KEY not in str(told.value)


def test_algorithms_have_to_be_given() -> None:
    with pytest.raises(TypeError, match="algorithms"):
        Jwt(KEY)  # type: ignore[call-arg]


def test_no_repr_has_a_secret() -> None:
    basic_, bearer = Basic({"ann": SECRET}), Jwt(SECRET * 2, algorithms=["HS256"])
    access = Access({"a": [basic_, bearer]}, {"/a/b": lambda *_: True}, ["/c"])
    principal = Principal("ann", {"token": SECRET})
    for one in (basic_, bearer, access, principal):
        assert SECRET not in repr(one)
        assert SECRET not in str(one)
    assert repr(access) == "<Access: realms a; 1 authorizers; 1 disabled endpoints>"
    assert repr(principal) == "<Principal 'ann', claims: token>"


def test_without_pyjwt_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "jwt", None)
    with pytest.raises(MissingPackage, match=r"pip install 'compactor\[auth\]'"):
        Jwt(KEY, algorithms=["HS256"])


# Access


@pytest.mark.parametrize(
    "given",
    [
        {"authenticators": "ro"},
        {"authenticators": {"": None}},
        {"authenticators": {"a\r\nb": None}},
        {"authenticators": {"é": None}},
        {"authenticators": {1: None}},
        {"authenticators": {"a": []}},
        {"authenticators": {"a": {"user": "secret"}}},
        {"authenticators": {"a": Basic}},
        {"authenticators": {"a": [None]}},
        {"authorizers": {"a/b": lambda *_: True}},
        {"authorizers": {"/": lambda *_: True}},
        {"authorizers": {"/a/b": True}},
        {"authorizers": ["/a/b"]},
        {"disabled_endpoints": "/a/b"},
        {"disabled_endpoints": ["a/b"]},
        {"disabled_endpoints": [None]},
        {"disabled_endpoints": None},
    ],
)
def test_what_is_no_access(given: Any) -> None:
    with pytest.raises(SettingsError) as told:
        Access(**given)
    assert "secret" not in str(told.value)


def test_a_principal_has_a_name_or_claims() -> None:
    with pytest.raises(ValueError, match="has a name, or claims"):
        Principal("")
    with pytest.raises(TypeError):
        Principal("ann", {"a": 1}).claims["b"] = 2  # type: ignore[index]
    assert hash(Principal("ann", {"a": [1]})) == hash(Principal("ann", {"b": 2}))


def test_a_realm_that_nobody_knows_is_shut() -> None:
    guard = Guard(Access(), Metrics())
    lock = guard.lock("/a/b", "/a/b", "unknown")
    assert lock == Lock("/a/b", "unknown")
    response: Any = guard.check(lock, request(None))
    assert response.status == 403


@pytest.mark.parametrize("seconds", [0, -1, "1", None])
def test_the_time_of_a_check_is_a_setting(seconds: Any) -> None:
    with pytest.raises(SettingsError, match="access_timeout"):
        Settings(access_timeout=seconds)
