"""``Basic``: names and passwords, as RFC 7617 has clients send them."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
import os
from collections.abc import Awaitable, Mapping
from pathlib import Path
from weakref import WeakKeyDictionary

from compactor.auth.passwords import Hash, is_too_long, parse_hash
from compactor.auth.principal import Authenticator, Principal, Said, Unauthorized
from compactor.errors import SettingsError
from compactor.http.request import Request
from compactor.system.system import system

_AT_ONCE = 2  # threads that check passwords; each check takes 16 MiB
_WRONG = Unauthorized("the name or the password is wrong")


class Basic(Authenticator):
    """Names and passwords.

    They are compared in constant time.  A hashed one is checked in a thread the first time, one at
    a time for each address that asks.

    Args:
        users: password by name; as it is, or as ``hash_password`` makes it.

    Raises:
        SettingsError: a name or password that cannot be used; the text does not quote passwords.
    """

    scheme = "Basic"
    reads_body = False

    def __init__(self, users: Mapping[str, str]) -> None:
        self._path: str | os.PathLike[str] | None = None
        self._key = system().random_bytes(32)
        self._lines: WeakKeyDictionary[asyncio.AbstractEventLoop, _Line] = WeakKeyDictionary()
        self._take(users)

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> Basic:
        """Names and passwords of a file: lines of ``name:password``; ``#`` begins a comment.

        Raises:
            SettingsError: it cannot be read or used.
        """
        basic = cls(_read(path))
        basic._path = path
        return basic

    def reload(self) -> None:
        """Read the file anew.

        Raises:
            SettingsError: it cannot be read or used, or there is none; what was read stays in use.
        """
        if self._path is None:
            raise SettingsError("these users come from no file; make them by Basic.from_file")
        self._take(_read(self._path))

    def _take(self, users: Mapping[str, str]) -> None:
        if not isinstance(users, Mapping):
            raise SettingsError("users must be a mapping of names to passwords")
        plain: dict[str, bytes] = {}
        hashed: dict[str, Hash] = {}
        for name, password in users.items():
            found = _checked(name, password)
            if found is None:
                plain[name] = self._digest(password.encode())
            else:
                hashed[name] = found
        self._hashed = hashed
        self._known = plain  # digests of passwords: those given plain, and those that were right
        self._nobody = self._digest(system().random_bytes(32))
        # Who is not there takes as long as who is.
        self._stand_in = next(iter(hashed.values()), None)

    def _digest(self, password: bytes) -> bytes:
        return hmac.digest(self._key, password, "sha256")

    def authenticate(self, request: Request) -> Said | Awaitable[Said]:
        """Who has sent a request."""
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "basic":
            return Unauthorized()
        try:
            text = base64.b64decode(given.strip(" "), validate=True)
            user, colon, password = text.partition(b":")
            name = user.decode()
        except (binascii.Error, ValueError):
            return Unauthorized("the credentials are malformed")
        if not colon or is_too_long(password):
            return Unauthorized("the credentials are malformed")
        is_right = hmac.compare_digest(self._digest(password), self._known.get(name, self._nobody))
        if is_right:
            return Principal(name)
        known = self._hashed.get(name, None if name in self._known else self._stand_in)
        if known is None:
            return _WRONG
        return self._check(name, password, known, request.peer[0])

    async def _check(self, name: str, password: bytes, known: Hash, ip: str) -> Said:
        loop = asyncio.get_running_loop()
        line = self._lines.get(loop)
        if line is None:
            line = self._lines[loop] = _Line()
        async with line.turn_of(ip), line.threads:
            is_right = await loop.run_in_executor(None, known.matches, password)
        if is_right and self._hashed.get(name) is known:
            self._known[name] = self._digest(password)
            return Principal(name)
        return _WRONG

    def __repr__(self) -> str:
        return f"<Basic: {len(self._hashed.keys() | self._known.keys())} users>"


_Turns = dict[str, tuple[asyncio.Lock, int]]
"""By address: whose turn it is, and how many stand in line."""


class _Line:
    """Who waits for passwords to be checked, on one loop.

    Attributes:
        threads: as many as may check them.
    """

    def __init__(self) -> None:
        self.threads = asyncio.Semaphore(_AT_ONCE)
        self._turns: _Turns = {}

    def turn_of(self, ip: str) -> _Turn:
        """The turn of an address: those that ask for it come one after the other."""
        return _Turn(self._turns, ip)


class _Turn:
    """A place in the line of one address, which is kept as long as somebody stands in it."""

    def __init__(self, turns: _Turns, ip: str) -> None:
        self._turns = turns
        self._ip = ip

    async def __aenter__(self) -> None:
        lock, count = self._turns.get(self._ip, (asyncio.Lock(), 0))
        self._turns[self._ip] = lock, count + 1
        try:
            await lock.acquire()
        except BaseException:
            self._leave()
            raise

    async def __aexit__(self, *_: object) -> None:
        self._turns[self._ip][0].release()
        self._leave()

    def _leave(self) -> None:
        lock, count = self._turns.pop(self._ip)
        if count > 1:
            self._turns[self._ip] = lock, count - 1


def _checked(name: object, password: object) -> Hash | None:
    """The hash that a password is; None if it is a password itself."""
    if not isinstance(name, str) or not name or ":" in name or not name.isprintable():
        raise SettingsError(f"the name {name!r} must be printable text without a colon")
    if not isinstance(password, str) or not password or is_too_long(password.encode()):
        raise SettingsError(f"the password of {name!r} must be a str of 1 to 1024 bytes")
    if not password.startswith(("$", "{")):
        return None
    found = parse_hash(password)
    if found is None:
        raise SettingsError(
            f"the password of {name!r} begins as a hash does, and is none that "
            "compactor.auth.hash_password makes"
        )
    return found


def _read(path: str | os.PathLike[str]) -> dict[str, str]:
    try:
        lines = Path(path).read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError, TypeError) as error:
        why = error.strerror if isinstance(error, OSError) else type(error).__name__
        raise SettingsError(f"the users of {path!r} cannot be read: {why}") from None
    users: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        name, colon, password = line.partition(":")
        if not colon or name in users:
            what = "has no colon" if not colon else "names a user of a line above again"
            raise SettingsError(f"line {number} of {os.fspath(path)!r} {what}; name:password")
        users[name] = password
    return users
