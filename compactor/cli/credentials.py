"""Names and secrets of operators: read from a file or the environment, shown to nobody.

They are sent only to who asks for them with a challenge, and only for the realm that they are for.
"""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from compactor.cli.exits import Exit, Fault

_MOST_BYTES = 1024 * 1024  # of a file
_CHALLENGE = re.compile(
    r"(?:^|,)\s*(?P<scheme>Basic|Bearer)\b(?P<rest>.*?)(?=,\s*(?:Basic|Bearer)\b|$)", re.I
)
_REALM = re.compile(r'realm\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))', re.I)
_FORMS = (
    '{"principal": "ann", "secret": "..."}, {"token": "..."}, '
    'or a list of such under "credentials"; "realm" says which realm one is for'
)


@dataclass(frozen=True)
class Credential:
    """What one operator is known by, in one realm or in any.

    Attributes:
        realm: the realm that it is for; None for any.
    """

    realm: str | None
    _principal: str | None = field(repr=False)
    _secret: str = field(repr=False)

    @property
    def scheme(self) -> str:
        """By which way of HTTP it is sent."""
        return "basic" if self._principal is not None else "bearer"

    def header(self) -> str:
        """The value of ``Authorization``."""
        if self._principal is None:
            return f"Bearer {self._secret}"
        pair = f"{self._principal}:{self._secret}".encode()
        return f"Basic {base64.b64encode(pair).decode()}"


def from_environ(environ: Mapping[str, str], realm: str | None) -> list[Credential]:
    """What the environment has: a token, or a user and a password.

    Raises:
        Fault: half of it is missing, or it cannot be sent.
    """
    if "COMPACTOR_TOKEN" in environ:
        return [_checked("COMPACTOR_TOKEN", realm, None, environ["COMPACTOR_TOKEN"])]
    names = ("COMPACTOR_USER", "COMPACTOR_PASSWORD")
    given = [name for name in names if name in environ]
    if not given:
        return []
    if len(given) == 1:
        other = names[given[0] == names[0]]
        raise Fault(Exit.USAGE, f"{given[0]} is set, and {other} is not: they are used together")
    return [_checked(names[0], realm, *(environ[name] for name in names))]


def from_file(path: str, realm: str | None) -> list[Credential]:
    """What a file has, in JSON, as Mesos has its own, or in a line ``principal secret``.

    Raises:
        Fault: it cannot be read, or is something else.
    """
    try:
        with Path(path).open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
            mode = os.fstat(file.fileno()).st_mode
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise Fault(Exit.USAGE, f"the credentials in {path!r} cannot be read: {why}") from None
    if os.name == "posix" and mode & 0o007:
        raise Fault(Exit.USAGE, f"everybody can read the credentials in {path!r}: chmod 600 {path}")
    problem = f"the credentials in {path!r} must be {_FORMS}"
    if len(data) > _MOST_BYTES:
        raise Fault(Exit.USAGE, problem)
    try:
        found = list(_entries(data.decode()))
    except (ValueError, RecursionError):  # whose texts may quote a secret
        raise Fault(Exit.USAGE, problem) from None
    made: list[Credential] = []
    for entry in found:
        secret = entry.get("token", entry.get("secret"))
        principal = None if "token" in entry else entry.get("principal")
        own_realm = entry.get("realm", realm)
        is_whole = isinstance(secret, str) and ("token" in entry or isinstance(principal, str))
        if not is_whole or not isinstance(own_realm, (str, type(None))):
            raise Fault(Exit.USAGE, problem)
        made.append(_checked(f"the credentials in {path!r}", own_realm, principal, str(secret)))
    return made


def _entries(text: str) -> Iterator[dict[str, Any]]:
    if not text.lstrip().startswith(("{", "[")):
        principal, secret = text.split()
        yield {"principal": principal, "secret": secret}
        return
    value: Any = json.loads(text)
    if isinstance(value, dict) and "credentials" in value:
        value = value["credentials"]
    for entry in value if isinstance(value, list) else [value]:
        if not isinstance(entry, dict):
            raise ValueError("no object")
        yield entry


def _checked(where: str, realm: str | None, principal: str | None, secret: str) -> Credential:
    if principal is not None and (":" in principal or not principal.isprintable()):
        raise Fault(
            Exit.USAGE, f"{where}: a principal has no colon and nothing that does not print"
        )
    is_token = principal is None
    if not secret or not secret.isprintable() or (is_token and not secret.isascii()):
        raise Fault(
            Exit.USAGE, f"{where}: a secret is not empty, and has nothing that does not print"
        )
    return Credential(realm, principal, secret)


def challenges(fields: list[str]) -> list[tuple[str, str]]:
    """The schemes that a server takes, in lower case, and their realms."""
    found: list[tuple[str, str]] = []
    for value in fields:
        for match in _CHALLENGE.finditer(value[:4096]):
            realm = _REALM.search(match[2])
            name = (realm[1] if realm[1] is not None else realm[2]) if realm else ""
            found.append((match[1].lower(), re.sub(r"\\(.)", r"\1", name)))
    return found


def answer_to(asked: list[tuple[str, str]], known: list[Credential]) -> Credential | None:
    """The first credential that one of the challenges asks for; those of a realm come first."""
    for credential in sorted(known, key=lambda one: one.realm is None):
        for scheme, realm in asked:
            if credential.scheme == scheme and credential.realm in (None, realm):
                return credential
    return None
