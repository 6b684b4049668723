"""Cookies: the lines that set them, and those that clients send."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

from compactor.errors import LocalProtocolError

if TYPE_CHECKING:
    from datetime import datetime

SameSite = Literal["Strict", "Lax", "None"]

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[!#-+\--:<-\[\]-~]*")  # of RFC 6265: no blank, quote, comma, semicolon
_ATTRIBUTE = re.compile(r"[ -:<-~]*")
_SAME_SITE = ("Strict", "Lax", "None")


def cookie_line(
    name: str,
    value: str,
    max_age: int | None,
    expires: datetime | None,
    path: str | None,
    domain: str | None,
    secure: bool,
    httponly: bool,
    samesite: SameSite | None,
) -> str:
    """The value of a ``Set-Cookie``; ``Response.set_cookie`` tells of the arguments.

    Raises:
        LocalProtocolError: something cannot stand there.
    """
    if not _NAME.fullmatch(name):
        raise LocalProtocolError(f"{name!r} cannot be the name of a cookie")
    if not _VALUE.fullmatch(value):
        raise LocalProtocolError(
            f"the cookie {name!r} cannot have the value {value!r}: encode it, as by "
            "urllib.parse.quote"
        )
    if samesite is not None and samesite not in _SAME_SITE:
        raise LocalProtocolError(f"samesite must be one of {_SAME_SITE} or None, got {samesite!r}")
    if samesite == "None" and not secure:
        raise LocalProtocolError(f"browsers drop the cookie {name!r}: samesite='None' needs secure")
    parts = [f"{name}={value}", *_ends(max_age, expires)]
    for key, given in (("Path", path), ("Domain", domain)):
        if given is not None:
            if not isinstance(given, str) or not _ATTRIBUTE.fullmatch(given):
                raise LocalProtocolError(f"{given!r} cannot be the {key} of a cookie")
            parts.append(f"{key}={given}")
    parts += ["Secure"] * secure + ["HttpOnly"] * httponly
    if samesite is not None:
        parts.append(f"SameSite={samesite}")
    return "; ".join(parts)


def _ends(max_age: int | None, expires: datetime | None) -> list[str]:
    """What says for how long it is kept."""
    parts = []
    if max_age is not None:
        if type(max_age) is not int:
            raise LocalProtocolError(f"max_age must be whole seconds, got {max_age!r}")
        parts.append(f"Max-Age={max_age}")
    if expires is not None:
        from datetime import datetime, timezone  # whoever gives one has it
        from email.utils import format_datetime

        if not isinstance(expires, datetime) or expires.tzinfo is None:
            raise LocalProtocolError(f"expires must be a datetime with its zone, got {expires!r}")
        parts.append(f"Expires={format_datetime(expires.astimezone(timezone.utc), usegmt=True)}")
    return parts


def cookies_of(line: str) -> dict[str, str]:
    """The cookies of a ``Cookie`` header; of two with one name the first, which is the closest."""
    found: dict[str, str] = {}
    for part in line.split(";"):
        name, equals, value = part.partition("=")
        if equals:
            value = value.strip(" \t")
            if len(value) > 1 and value[0] == value[-1] == '"':
                value = value[1:-1]
            found.setdefault(name.strip(" \t"), value)
    return found
