"""What ``/help`` tells of routes, handlers and endpoints, in the words of their docstrings."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Iterator
from typing import Any, NamedTuple

from compactor.actor.handlers import INSTALL_ATTRIBUTE, ROUTE_ATTRIBUTE, HandlerTable
from compactor.actor.protobuf import without_parsing
from compactor.actor.realms import realms_of
from compactor.actor.route_methods import ANY, ByMethod, name_of
from compactor.endpoints.endpoint import Endpoint
from compactor.pid import escape_id

_OPEN = "This endpoint does not require authentication.\n"
_IN_REALM = "This endpoint requires authentication iff HTTP authentication is\nenabled.\n"


class Entry(NamedTuple):
    """Something that a process serves or handles.

    Attributes:
        name: of a route with its ``/``, or of messages.
        text: the whole help, in Markdown.
        summary: the first paragraph of it, on one line; empty if nobody has written any.
    """

    name: str
    text: str
    summary: str


def page(usage: list[str], doc: str, more: str = "") -> str:
    """The help on something, as libprocess lays it out.

    Args:
        usage: how it is asked for, line by line.
        doc: a docstring: its first paragraph is the summary.
        more: sections at the end.
    """
    lines = "".join(f">        {line}\n" for line in usage)
    summary, _, rest = doc.partition("\n\n")
    text = f"### USAGE ###\n{lines}\n### TL;DR; ###\n{summary.strip()}\n"
    if rest.strip():
        text += f"\n### DESCRIPTION ###\n{rest.strip()}\n\n"
    return f"{text}\n{more}"


def of_endpoint(endpoint: Endpoint, prefix: str) -> Entry:
    """The help on an endpoint."""
    doc = f"{endpoint.summary}\n\n{endpoint.description}"
    more = f"### AUTHENTICATION ###\n{_IN_REALM if endpoint.realm else _OPEN}"
    text = page([f"{prefix}{endpoint.path}"], doc, more)
    return Entry(endpoint.name, text, endpoint.summary)


def routes_of(table: HandlerTable, id_: str, is_delegate: bool) -> Iterator[Entry]:
    """The help on all that HTTP requests may ask of a process, by name."""
    for name in sorted({*table.routes, *(f"/{door}" for door in table.doors)}):
        path = f"/{escape_id(id_)}{'' if name == '/' else name}"
        serves = table.routes.get(name)
        doc = "" if serves is None else _doc_of(serves)
        usage = [name, path] if is_delegate else [path]
        if serves is None:
            doc = _doc_of(table.messages[name[1:]][0])
            usage = [f"POST {path}"]
        methods = _methods_of(serves)
        if methods:
            usage = [f"{method} {line}" for line in usage for method in methods]
        if doc:
            more = f"### AUTHENTICATION ###\n{_authentication(table, name, serves)}"
            yield Entry(name, page(usage, doc, more), _summary(doc))
        else:
            yield Entry(name, f"## No help page for `{path}`\n", "")


def _authentication(table: HandlerTable, name: str, serves: Any) -> str:
    """Who may ask for a route, or for an answer: in the words of libprocess, and with the realm."""
    realms = realms_of(table) if table.traits else {}
    if serves is None:
        found = {ANY: realms.get((INSTALL_ATTRIBUTE, name[1:]), "")}
    else:
        methods = list(serves.given) if isinstance(serves, ByMethod) else [ANY]
        found = {m: realms.get((ROUTE_ATTRIBUTE, name_of(m, name)), "") for m in methods}
    different = set(found.values())
    if different == {""}:
        return _OPEN
    if len(different) == 1:
        return f"{_IN_REALM}The realm is `{different.pop()}`.\n"
    told = ""
    for method, realm in found.items():
        who = f"the realm is `{realm}`" if realm else "no authentication"
        told += f"{method or 'others'}: {who}.\n"
    return f"{_IN_REALM}{told}"


def messages_of(table: HandlerTable) -> Iterator[Entry]:
    """The help on all messages that a process handles, by name."""
    for name in sorted(table.messages):
        method, kind = table.messages[name]
        doc = _doc_of(method)
        usage = [f"the message {name}" + (f", a {kind.__qualname__}" if kind is not None else "")]
        if name in table.answers:
            usage[0] += ", which is answered"
        text = (
            f"{page(usage, doc).strip()}\n"
            if doc
            else f"## No help page for the message `{name}`\n"
        )
        yield Entry(name, text, _summary(doc))


def _summary(doc: str) -> str:
    return " ".join(doc.partition("\n\n")[0].split())


def _methods_of(serves: Any) -> list[str]:
    """The HTTP methods that are served, if not all are."""
    if not isinstance(serves, ByMethod) or ANY in serves.given:
        return []
    return list(serves.given)


def _doc_of(value: Any) -> str:
    """The docstring of what serves or handles something; of several, one behind the other."""
    if isinstance(value, ByMethod):
        docs = {method: _doc_of(one) for method, one in value.given.items()}
        if len(set(docs.values())) <= 1:
            return next(iter(docs.values()), "")
        return "\n\n".join(f"{method}: {doc}" for method, doc in docs.items() if doc)
    value = without_parsing(value)
    if isinstance(value, (staticmethod, classmethod)):
        value = value.__func__
    while isinstance(value, functools.partial):
        value = value.func
    doc = value.__doc__ if inspect.isroutine(value) else None
    return inspect.cleandoc(doc).strip() if isinstance(doc, str) else ""
