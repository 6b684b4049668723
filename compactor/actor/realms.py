"""Realms of routes and answers: who asks for those has to say who it is."""

from __future__ import annotations

import re
from typing import Any

from compactor.actor.handlers import HandlerTable

_REALM = re.compile(r"[\x20-\x7e]{1,128}")
_TRAIT = "realm:"  # what the trait of a handler that has one begins with


def check_realm(realm: Any) -> str:
    """The name of a realm.

    Raises:
        TypeError: it is no ``str``.
        ValueError: no challenge can name it.
    """
    rule = "a realm is a name of 1 to 128 printable ASCII characters"
    if not isinstance(realm, str):
        raise TypeError(f"{rule}, not {realm!r}")
    if not _REALM.fullmatch(realm) or realm != realm.strip():
        raise ValueError(f"{rule}, without blanks around it, not {realm!r}")
    return realm


def realm_trait(realm: str | None) -> dict[str, bool]:
    """The trait of a handler in a realm; none for None."""
    return {} if realm is None else {_TRAIT + check_realm(realm): True}


def realms_of(table: HandlerTable) -> dict[tuple[str, str], str]:
    """The realms of the handlers of a class, by what they are and what their traits name.

    Raises:
        TypeError: one of them has two.
    """
    found: dict[tuple[str, str], str] = {}
    for kind, name, trait in table.traits:
        if trait.startswith(_TRAIT):
            realm = trait[len(_TRAIT) :]
            other = found.setdefault((kind, name), realm)
            if other != realm:
                two = " and ".join(map(repr, sorted((realm, other))))
                raise TypeError(f"{name.strip()!r} is in the realms {two}; it can be in one")
    return found


def endpoint_of(id_: str, path: str) -> str:
    """The endpoint of a route or an answer: the id of its process, and its path or name."""
    return f"/{id_}" if path == "/" else f"/{id_}/{path.removeprefix('/')}"
