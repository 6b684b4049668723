"""Passwords as they are kept: hashed by scrypt, in the format of PHC."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from typing import NamedTuple

from compactor.system.system import system

_SCRYPT = re.compile(
    r"\$scrypt\$ln=(\d{1,2}),r=(\d{1,2}),p=(\d{1,2})\$([A-Za-z0-9+/]+)\$([A-Za-z0-9+/]+)"
)
_LN, _R, _P = 14, 8, 1  # 16 MiB, and about 50 ms
_SIZE = 32
_MOST = 256 * 1024 * 1024  # bytes that one check may take
_LONGEST = 1024  # bytes of a password


class Hash(NamedTuple):
    """A password, hashed."""

    ln: int
    r: int
    p: int
    salt: bytes
    digest: bytes

    def matches(self, password: bytes) -> bool:
        """Whether a password is that one; takes its time, and is asked in a thread."""
        return hmac.compare_digest(self._of(password), self.digest)

    def _of(self, password: bytes) -> bytes:
        return hashlib.scrypt(
            password,
            salt=self.salt,
            n=2**self.ln,
            r=self.r,
            p=self.p,
            maxmem=2 * _MOST,
            dklen=len(self.digest),
        )

    def __repr__(self) -> str:
        return "<Hash>"


def hash_password(password: str) -> str:
    """A password as files of ``Basic`` keep it.

    Raises:
        TypeError, ValueError: it is no password: empty, or longer than 1024 bytes.
    """
    if not isinstance(password, str):
        raise TypeError("a password is a str")
    if not 0 < len(password.encode()) <= _LONGEST:
        raise ValueError("a password has 1 to 1024 bytes")
    empty = Hash(_LN, _R, _P, system().random_bytes(16), bytes(_SIZE))
    digest = empty._of(password.encode())
    return f"$scrypt$ln={_LN},r={_R},p={_P}${_text(empty.salt)}${_text(digest)}"


def is_too_long(password: bytes) -> bool:
    """Whether nobody can have that password."""
    return len(password) > _LONGEST


def parse_hash(text: str) -> Hash | None:
    """A password as ``hash_password`` writes it; None if that is no such."""
    found = _SCRYPT.fullmatch(text)
    if found is None:
        return None
    ln, r, p = (int(number) for number in found.groups()[:3])
    try:
        salt, digest = _bytes(found[4]), _bytes(found[5])
    except binascii.Error:
        return None
    is_usable = ln and r and 0 < p <= 16 and 128 * r * 2**ln <= _MOST
    if not is_usable or len(digest) < 16:
        return None
    return Hash(ln, r, p, salt, digest)


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode().rstrip("=")


def _bytes(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
