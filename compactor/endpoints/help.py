"""``/help``: what all processes and the context serve, and what processes handle."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from html import escape
from typing import Any
from urllib.parse import quote

from compactor.endpoints.endpoint import Endpoint
from compactor.endpoints.help_texts import Entry, messages_of, of_endpoint, routes_of
from compactor.endpoints.json_answer import to_json_text
from compactor.endpoints.pieces import in_pieces
from compactor.http.content import JSON
from compactor.http.request import Request
from compactor.http.response import Response
from compactor.wire.escapes import unescaped

MARKDOWN = "text/x-markdown"
HTML = "text/html; charset=utf-8"

_IN_TERMINALS = ("curl", "HTTPie")  # the clients that libprocess shows Markdown
_MOST_SORTED = 1000  # processes; to sort many would hold up the loop
_SHOWN = 200  # characters of what there is no help for
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
    "X-Content-Type-Options": "nosniff",
}
_HEAD = """<!DOCTYPE html>
<html><head><meta charset="utf-8"><title>{title}</title>
<style>body {{ font: 16px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 50em; \
padding: 0 1em }} pre {{ white-space: pre-wrap }}</style></head>
<body><h1>{title}</h1>
"""
_END = "</body></html>\n"


def _help(request: Request, owner: Any) -> Response:
    id_, _, name = request.below[1:].partition("/")
    try:
        id_, name = _decoded(id_), _decoded(name)
    except ValueError:
        return Response.error(404)
    is_json = request.query.get("format") == "json"
    is_markdown = request.headers.get("User-Agent", "").startswith(_IN_TERMINALS)
    if not id_:
        form = _json_index if is_json else _markdown_index if is_markdown else _html_index
        parts = form(owner)
    else:
        known = _Known(owner, id_)
        if not known.exists:
            return Response.error(404)
        if name and not any(known.named(name)):
            shown = f"/{id_}/{name}"[:_SHOWN]
            return Response.error(400, f"No help available for '{shown}'.\n")
        if is_json and not name:
            parts = known.as_json()
        else:
            parts = known.page(name) if is_markdown else known.html(name)
    kind = JSON if is_json and not name else MARKDOWN if is_markdown else HTML
    return in_pieces(owner, parts, kind, _HEADERS if kind is HTML else {})


def _decoded(part: str) -> str:
    """A part of a path as it is meant.

    Raises:
        ValueError: it has a bad escape.
    """
    return unescaped(part.encode("utf-8", "surrogateescape")).decode(errors="replace")


class _Known:
    """What there is to tell of an id, which may be that of a process, or of endpoints.

    Attributes:
        exists: whether there is anything.
    """

    def __init__(self, owner: Any, id_: str) -> None:
        self._id = id_
        self._endpoints: list[Endpoint] = []
        self._prefix: str = owner.settings.endpoints_prefix
        self._is_delegate = owner.pages.delegate == id_
        mailbox = owner.registry.live.get(id_)
        self._table = None if mailbox is None else mailbox.process.__handlers__()
        if mailbox is None:
            self._endpoints = [e for e in owner.pages.endpoints().all if e.id == id_]
        self.exists = bool(self._endpoints) or (
            self._table is not None and bool(self._table.routes or self._table.messages)
        )

    def routes(self) -> Iterator[Entry]:
        """What requests may ask for."""
        for endpoint in self._endpoints:
            yield of_endpoint(endpoint, self._prefix)
        if self._table is not None:
            yield from routes_of(self._table, self._id, self._is_delegate)

    def messages(self) -> Iterator[Entry]:
        """What is handled."""
        return iter(()) if self._table is None else messages_of(self._table)

    def named(self, name: str) -> Iterator[Entry]:
        """What has a name: a route, or else a message."""
        found = False
        for entry in self.routes():
            if entry.name == f"/{name}":
                found = True
                yield entry
        if not found:
            yield from (entry for entry in self.messages() if entry.name == name)

    def as_json(self) -> Iterator[str]:
        """All of it."""
        yield f'{{"id":{to_json_text(self._id)},"endpoints":['
        yield from _joined(_told(entry) for entry in self.routes())
        if self._table is not None and self._table.messages:
            yield '],"messages":['
            yield from _joined(_told(entry) for entry in self.messages())
        yield "]}"

    def page(self, name: str) -> Iterator[str]:
        """The help on one thing, or an index, in Markdown."""
        if name:
            for entry in self.named(name):
                yield f"{entry.text}\n"
            return
        paths = [f"{self._id}{entry.name}" for entry in self.routes() if entry.name != "/"]
        if paths:
            yield f"## `/{self._id}` ##\n"
            yield from (f"> [/{path}][{path}]\n" for path in paths)
            yield "\n"
            yield from (f"[{path}]: {path}\n" for path in paths)
        for entry in self.named(""):
            yield f"\n{entry.text}" if paths else entry.text
        if self._table is not None and self._table.messages:
            yield "\n### MESSAGES ###\n"
            for entry in self.messages():
                yield f"> `{entry.name}`" + (f": {entry.summary}\n" if entry.summary else "\n")

    def html(self, name: str) -> Iterator[str]:
        """The same as a page for browsers."""
        yield _HEAD.format(title=escape(f"/{self._id}{f'/{name}' if name else ''}"))
        if name:
            for entry in self.named(name):
                yield f"<pre>{escape(entry.text)}</pre>\n"
            yield _END
            return
        yield "<ul>\n"
        for entry in self.routes():
            if entry.name != "/":
                yield self._item(entry.name, f"/{self._id}{entry.name}", entry.summary)
        yield "</ul>\n"
        for entry in self.named(""):
            yield f"<pre>{escape(entry.text)}</pre>\n"
        if self._table is not None and self._table.messages:
            yield "<h2>Messages</h2>\n<ul>\n"
            for entry in self.messages():
                yield self._item(f"/{entry.name}", entry.name, entry.summary)
            yield "</ul>\n"
        yield _END

    def _item(self, name: str, shown: str, summary: str) -> str:
        link = f"{self._prefix}/help/{quote(self._id, safe='')}{quote(name)}"
        return f'<li><a href="{link}">{escape(shown)}</a> {escape(summary)}</li>\n'


def _told(entry: Entry) -> str:
    return f'{{"name":{to_json_text(entry.name)},"text":{to_json_text(entry.text)}}}'


def _joined(texts: Iterable[str]) -> Iterator[str]:
    for number, text in enumerate(texts):
        yield f",{text}" if number else text


def _alive(owner: Any) -> list[str]:
    alive: list[str] = owner.pages.endpoints().crowd.ids(owner.registry.live)
    return alive


def _ids(owner: Any, alive: list[str]) -> Iterator[str]:
    """The ids of all that there is help for; empty ones are steps without a result."""
    live = owner.registry.live
    built_in = {endpoint.id for endpoint in owner.pages.endpoints().all} - live.keys()
    is_sorted = len(alive) <= _MOST_SORTED
    for id_ in sorted(built_in.union(alive)) if is_sorted else (*sorted(built_in), *alive):
        mailbox = live.get(id_)
        if mailbox is None:
            yield id_ if id_ in built_in else ""
        else:
            table = mailbox.process.__handlers__()
            yield id_ if table.routes or table.messages else ""


def _json_index(owner: Any) -> Iterator[str]:
    yield '{"processes":['
    before = ""
    for id_ in _ids(owner, _alive(owner)):
        known = _Known(owner, id_) if id_ else None
        if known is None or not known.exists:
            yield ""
            continue
        yield before
        yield from known.as_json()
        before = ","
    yield "]}"


def _markdown_index(owner: Any) -> Iterator[str]:
    yield "## HELP\n"
    alive = _alive(owner)
    yield from (f"> [/{id_}][{id_}]\n" if id_ else "" for id_ in _ids(owner, alive))
    yield "\n"
    yield from (f"[{id_}]: help/{id_}\n" if id_ else "" for id_ in _ids(owner, alive))


def _html_index(owner: Any) -> Iterator[str]:
    prefix = owner.settings.endpoints_prefix
    yield _HEAD.format(title="Help")
    yield "<ul>\n"
    for id_ in _ids(owner, _alive(owner)):
        link = f"{prefix}/help/{quote(id_, safe='')}"
        yield f'<li><a href="{link}">/{escape(id_)}</a></li>\n' if id_ else ""
    yield "</ul>\n" + _END


ENDPOINTS = (
    Endpoint(
        "/help",
        _help,
        "Tells what this context and its processes serve and handle.",
        """`/help/<id>` tells what one process serves, and which messages it handles,
`/help/<id>/<name>` tells more of one route or message. All of it is made of docstrings.

Clients that call themselves curl or HTTPie get Markdown, all others HTML.

Query parameters:

>        format=json          JSON instead, of all processes, or of one
""",
        below=True,
    ),
)
