"""Files as answers: what of a file a request gets, and its pieces.

Files are opened, read and sent in threads of the loop, so a slow disk holds nobody up.
"""

from __future__ import annotations

import asyncio
import errno
import functools
import os
import stat
from collections.abc import Callable, Mapping
from email.utils import formatdate, parsedate_to_datetime
from typing import Any, BinaryIO, NamedTuple, TypeVar

from compactor.http.content import LEAST_IN_GZIP, is_compressible
from compactor.http.ranges import Span, parts_of, spans_of
from compactor.http.streams import Sendable, StreamEnded
from compactor.system.system import system
from compactor.wire.preferences import takes_gzip

Result = TypeVar("Result")

_PIECE = 256 * 1024  # bytes that are read at a time
_SENT = 8 * 1024 * 1024  # bytes that are sent at a time, at most
_MAX_TAGS = 8 * 1024  # characters of a condition that is looked at
_NONE = {
    errno.ENOENT,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.EACCES,
    errno.EPERM,
    errno.ELOOP,  # a link, where none may be
    errno.ENAMETOOLONG,
    errno.ENXIO,
    errno.EINVAL,
}
"""Errors that say that a name stands for no file that may be read."""

_SCARCE = {errno.EMFILE, errno.ENFILE, errno.ENOMEM}
"""Errors that clients bring about who ask for many files: no failure of the process."""

_FLAGS = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


class FileAnswer(NamedTuple):
    """What a request for a file is answered with.

    Attributes:
        status: 200, 206, 304, 404, 412, 416 or 503.
        headers: of the answer, besides those that the route gives.
        source: the content, if there is any.
    """

    status: int
    headers: dict[str, str]
    source: FileSource | None = None


class FileSource(Sendable):
    """The content of a file, or some of it, piece by piece.

    Args:
        file: is closed at the end.
        parts: what is sent: spans of the file, and bytes between them.
    """

    ends_with_client: bool = False

    def __init__(self, file: BinaryIO, parts: list[bytes | Span]) -> None:
        self._file: BinaryIO | None = file
        self._parts = parts[::-1]
        self._connection: int | None = None
        self._working: asyncio.Future[Any] | None = None
        self._is_over = False
        self.length: int | None = sum(
            len(part) if isinstance(part, bytes) else part.stop - part.start for part in parts
        )

    async def next(self) -> bytes | None:
        """The next piece; None behind the last."""
        while self._parts and not self._is_over:
            part = self._parts.pop()
            if isinstance(part, bytes):
                return part
            if part.start < part.stop:
                return await self._read(part)
        self.close()
        return None

    async def _read(self, part: Span) -> bytes:
        size = min(_PIECE, part.stop - part.start)
        self._parts.append(Span(part.start + size, part.stop))
        try:
            data = await self._in_thread(_read_at, self._file, part.start, size)
        except OSError as error:
            raise StreamEnded(f"the file cannot be read: {error}") from None
        if len(data) < size:
            raise StreamEnded("the file has become shorter")
        return data

    def connect(self, connection: int | None) -> None:
        self._connection = connection

    async def send(self) -> bool:
        part = self._parts[-1] if self._parts else b""
        if self._connection is None or self._is_over or isinstance(part, bytes):
            return False
        self._parts.pop()
        file, connection = self._file, self._connection
        assert file is not None
        size = min(part.stop - part.start, _SENT)
        sent = await self._in_thread(
            system().send_file, connection, file.fileno(), part.start, size
        )
        self._parts.append(Span(part.start + sent, part.stop))
        return size == _SENT == sent

    async def _in_thread(self, work: Callable[..., Result], *args: Any) -> Result:
        loop = asyncio.get_running_loop()
        working = self._working = loop.run_in_executor(None, functools.partial(work, *args))
        try:
            return await asyncio.shield(working)
        finally:
            if working.done():
                self._working = None

    def close(self) -> None:
        """Close the file, once no thread works with it any more."""
        self._is_over = True
        file, self._file = self._file, None
        connection, self._connection = self._connection, None
        if file is None:
            return
        if self._working is None:
            _close(file, connection)
        else:
            self._working.add_done_callback(lambda work: _close(file, connection, work))


def _close(file: BinaryIO, connection: int | None, work: asyncio.Future[Any] | None = None) -> None:
    if work is not None and not work.cancelled():
        work.exception()  # so that nobody complains that it was not looked at
    file.close()
    if connection is not None:
        os.close(connection)


def _read_at(file: BinaryIO, start: int, size: int) -> bytes:
    file.seek(start)
    data = file.read(size)
    while len(data) < size and (more := file.read(size - len(data))):
        data += more
    return data


def open_file(
    open_it: Callable[[], tuple[BinaryIO, str]],
    headers: Mapping[str, str],
    method: str,
    kind: str | None,
) -> FileAnswer:
    """Open a file as a request asks for it; in a thread.

    Args:
        open_it: opens it, and tells its name.
        headers: of the request.
        method: of the request.
        kind: its content type; None to go by its name.

    Returns:
        404 if there is no such file, 503 if no more can be opened right now.
    """
    try:
        file, name = open_it()
    except ValueError:
        return FileAnswer(404, {})
    except OSError as error:
        if error.errno in _NONE or error.errno in _SCARCE:
            return FileAnswer(404 if error.errno in _NONE else 503, {})
        raise
    try:
        found = os.fstat(file.fileno())
        answer = _answer(file, found, headers, method, kind or _kind_of(name))
    except BaseException:
        file.close()
        raise
    if answer.source is None:
        file.close()
    return answer


async def opened(
    open_it: Callable[[], tuple[BinaryIO, str]],
    headers: Mapping[str, str],
    method: str,
    kind: str | None,
) -> FileAnswer:
    """What ``open_file`` finds in a thread."""
    len(headers)  # they are decoded here, and not in the thread
    loop = asyncio.get_running_loop()
    opening = loop.run_in_executor(None, open_file, open_it, headers, method, kind)
    try:
        return await asyncio.shield(opening)
    except asyncio.CancelledError:
        opening.add_done_callback(_forget)
        raise


def _forget(opening: asyncio.Future[FileAnswer]) -> None:
    """Close a file that nobody waits for any more."""
    if not opening.cancelled() and opening.exception() is None:
        source = opening.result().source
        if source is not None:
            source.close()


def open_named(path: str | os.PathLike[str]) -> tuple[BinaryIO, str]:
    """Open a file, and tell its name."""
    return open_path(path), os.path.basename(os.fspath(path))


def open_path(path: str | os.PathLike[str], place: int | None = None) -> BinaryIO:
    """Open a file for reading, and wait for nobody: it may be a pipe, which ``_answer`` refuses.

    Args:
        path: of the file.
        place: the descriptor of the folder that it is in, where it may be no link.
    """
    follows = 0 if place is None else getattr(os, "O_NOFOLLOW", 0)
    descriptor = os.open(path, os.O_RDONLY | _FLAGS | follows, dir_fd=place)
    try:
        return os.fdopen(descriptor, "rb", buffering=0)
    except BaseException:
        os.close(descriptor)
        raise


def _answer(
    file: BinaryIO, found: os.stat_result, headers: Mapping[str, str], method: str, kind: str
) -> FileAnswer:
    if not stat.S_ISREG(found.st_mode):
        return FileAnswer(404, {})
    tag = f'"{found.st_mtime_ns:x}-{found.st_size:x}"'
    told = {
        "ETag": tag,
        "Last-Modified": formatdate(found.st_mtime // 1, usegmt=True),
        "Accept-Ranges": "bytes",
    }
    status = _condition(headers, tag, int(found.st_mtime), method in ("GET", "HEAD"))
    size = found.st_size
    if status:
        if status == 304 and _is_in_gzip(headers, kind, size):
            told |= {"ETag": f"W/{tag}", "Vary": "Accept-Encoding"}  # as the answer that it is for
        return FileAnswer(status, told)
    spans = _spans(headers, tag, int(found.st_mtime), size) if method == "GET" else None
    if spans is None:
        told["Content-Type"] = kind
        return FileAnswer(200, told, FileSource(file, [Span(0, size)]))
    if not spans:
        return FileAnswer(416, {**told, "Content-Range": f"bytes */{size}"})
    if len(spans) == 1:
        told["Content-Range"] = f"bytes {spans[0].start}-{spans[0].stop - 1}/{size}"
        told["Content-Type"] = kind
        return FileAnswer(206, told, FileSource(file, list(spans)))
    told["Content-Type"], parts = parts_of(spans, kind, size)
    return FileAnswer(206, told, FileSource(file, parts))


def _kind_of(name: str) -> str:
    """The content type of a file of that name."""
    import mimetypes  # few programs need it

    kind, coding = mimetypes.guess_type(name)
    if kind is None or coding is not None:
        return "application/octet-stream"
    return f"{kind}; charset=utf-8" if kind.startswith("text/") else kind


def _is_in_gzip(headers: Mapping[str, str], kind: str, size: int) -> bool:
    """Whether a whole file is sent in gzip."""
    is_asked_for = takes_gzip(headers.get("Accept-Encoding", ""))
    return is_asked_for and size >= LEAST_IN_GZIP and is_compressible(kind)


def _condition(headers: Mapping[str, str], tag: str, modified: int, is_read: bool) -> int:
    """304 or 412 where a condition of a request says that the file is not wanted, else 0."""
    match, none_match = headers.get("If-Match"), headers.get("If-None-Match")
    if match is not None:
        if not _names(match, tag):
            return 412
    elif (since := _time(headers.get("If-Unmodified-Since"))) is not None and modified > since:
        return 412
    if none_match is not None:
        if _names(none_match, tag):
            return 304 if is_read else 412
    elif (since := _time(headers.get("If-Modified-Since"))) is not None and is_read:
        return 304 if modified <= since else 0
    return 0


def _names(tags: str, tag: str) -> bool:
    """Whether a list of tags has one; weak ones count, for a file is compared byte by byte."""
    if tags.strip() == "*":
        return True
    found = (one.strip().removeprefix("W/") for one in tags[:_MAX_TAGS].split(","))
    return tag in found


def _time(text: str | None) -> float | None:
    """The seconds since 1970 that a date of HTTP says; None if it is none."""
    if text is None or len(text) > 64:
        return None
    try:
        return parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def _spans(headers: Mapping[str, str], tag: str, modified: int, size: int) -> list[Span] | None:
    """The spans that a request asks for; None for the whole file, empty if it has none of them."""
    wanted, condition = headers.get("Range"), headers.get("If-Range")
    if wanted is None:
        return None
    if condition is not None and condition != tag and _time(condition) != modified:
        return None
    return spans_of(wanted, size)
