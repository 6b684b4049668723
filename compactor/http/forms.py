"""Forms, as browsers and curl send them: fields, and files in several parts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from compactor.errors import MissingPackage, RemoteProtocolError
from compactor.wire.escapes import unescaped_as_far_as_possible as unescaped

MAX_FIELDS = 1000
"""Of a query or form: a millisecond's work."""

_MAX_ENCODED = 8 * 1024 * 1024  # bytes of a form without files: 0.1 s
_SLICE = 256 * 1024  # bytes that are given to the parser at a time
_URLENCODED = "application/x-www-form-urlencoded"
_MULTIPART = "multipart/form-data"


class Upload(NamedTuple):
    """A file of a form.

    Attributes:
        filename: as the client calls it; never a path to be trusted.
        content_type: as the client says.
        body: what is in it.
    """

    filename: str
    content_type: str
    body: bytes


class Form(Mapping[str, "str | Upload"]):
    """The fields of a form by name; of several with one name the last."""

    __slots__ = ("_fields",)

    def __init__(self, fields: list[tuple[str, str | Upload]]) -> None:
        self._fields: dict[str, list[str | Upload]] = {}
        for name, value in fields:
            self._fields.setdefault(name, []).append(value)

    def get_list(self, name: str) -> list[str | Upload]:
        """All values of a name."""
        return list(self._fields.get(name, ()))

    def __getitem__(self, name: str) -> str | Upload:
        return self._fields[name][-1]

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def __repr__(self) -> str:
        return f"Form({list(self._fields)})"


def pairs_of(text: bytes, what: str) -> list[tuple[bytes, bytes]]:
    """Names and values, decoded, of what is URL-encoded.

    Args:
        what: the text is, for the error.

    Raises:
        RemoteProtocolError: there are too many.
    """
    text = text.replace(b"+", b" ")
    if text.count(b"&") >= MAX_FIELDS:
        raise RemoteProtocolError(f"{what} has more than {MAX_FIELDS} arguments")
    parts = [part.partition(b"=") for part in text.split(b"&") if part]
    return [(unescaped(name), unescaped(value)) for name, _, value in parts]


def form_of(content_type: str, body: bytes) -> Form:
    """The form that is in a body.

    Raises:
        RemoteProtocolError: it is none, or has too much in it.
        MissingPackage: it has several parts, and what reads those is not installed.
    """
    kind = content_type.partition(";")[0].strip().lower()
    if kind == _MULTIPART:
        return Form(_parts_of(content_type, body))
    if kind != _URLENCODED:
        raise RemoteProtocolError(
            f"a form is {_URLENCODED} or {_MULTIPART}, not {content_type[:80]!r}", 415
        )
    if len(body) > _MAX_ENCODED:
        raise RemoteProtocolError(f"a form without files exceeds {_MAX_ENCODED} bytes", 413)
    return Form([(_text(n), _text(v)) for n, v in pairs_of(body, "the form")])


def _text(value: bytes) -> str:
    return value.decode(errors="replace")


def _parser() -> Any:
    try:
        import multipart
    except ImportError:
        multipart = None
    if not hasattr(multipart, "PushMultipartParser"):  # an old python-multipart has the same name
        raise MissingPackage(
            "forms with files are read by the package multipart: pip install 'compactor[forms]'"
        )
    return multipart


def _parts_of(content_type: str, body: bytes) -> list[tuple[str, str | Upload]]:
    """The fields and files of several parts."""
    module = _parser()
    if len(content_type) > 1000:
        raise RemoteProtocolError("the Content-Type of the form exceeds 1000 characters")
    _, options = module.parse_options_header(content_type)
    if not options.get("boundary"):
        raise RemoteProtocolError("the form has no boundary between its parts")
    found: list[tuple[str, str | Upload]] = []
    part: Any = None
    pieces: list[bytes] = []
    try:
        parser = module.PushMultipartParser(options["boundary"], max_segment_count=MAX_FIELDS)
        for at in range(0, len(body), _SLICE):
            for event in parser.parse(body[at : at + _SLICE]):
                if event is None:
                    found.append((part.name, _value_of(part, b"".join(pieces))))
                    pieces = []
                elif isinstance(event, (bytes, bytearray)):
                    pieces.append(bytes(event))
                else:
                    part = event
        parser.close()
    except module.ParserLimitReached as error:
        raise RemoteProtocolError(f"the form has too much in it: {error}", 413) from None
    except (module.MultipartError, ValueError, LookupError) as error:
        raise RemoteProtocolError(f"the body is no form in parts: {error}") from None
    return found


def _value_of(part: Any, content: bytes) -> str | Upload:
    if part.filename is None:
        return _text(content)
    return Upload(part.filename, part.content_type or "application/octet-stream", content)
