"""Files below a folder, by paths that clients have chosen.

A path names a file below the folder or nothing: each of its parts is decoded once and opened from
the folder before it, so neither ``..``, however it is written, nor a symbolic link leads outside.
"""

from __future__ import annotations

import errno
import os
import re
from typing import BinaryIO

from compactor.http.files import open_path
from compactor.wire.escapes import unescaped

_MAX_PARTS = 64  # of a path
_UNFIT = re.compile(r"[/\\\0:]" if os.name == "nt" else r"[/\0]")
_FOLDER = getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
_HAS_PLACES = os.open in os.supports_dir_fd and hasattr(os, "O_NOFOLLOW")


def parts_of(path: str) -> list[str]:
    """The parts of a raw path, decoded.

    Raises:
        ValueError: one of them can be no name of a file.
    """
    raw = path.strip("/").split("/", _MAX_PARTS)
    if len(raw) > _MAX_PARTS:
        raise ValueError("too many parts")
    parts = [os.fsdecode(unescaped(part.encode("utf-8", "surrogateescape"))) for part in raw]
    if any(part in ("", ".", "..") or _UNFIT.search(part) for part in parts):
        raise ValueError("a part that names no file")
    return parts


def open_below(folder: str, path: str, index: str | None) -> tuple[BinaryIO, str]:
    """Open a file below a folder.

    Args:
        folder: its path, which may be a link itself.
        path: of the file, raw, as the client has sent it; empty for the folder.
        index: the file that stands for a folder.

    Returns:
        The file, and its name.

    Raises:
        OSError, ValueError: there is none, or it may not be read.
    """
    parts = parts_of(path) if path.strip("/") else []
    if not parts or path.endswith("/"):
        if index is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        parts.append(index)
    if _HAS_PLACES:
        return _open_step_by_step(folder, parts), parts[-1]
    return open_path(_resolved(folder, parts)), parts[-1]


def _open_step_by_step(folder: str, parts: list[str]) -> BinaryIO:
    place = os.open(folder, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
    try:
        for part in parts[:-1]:
            below = os.open(part, os.O_RDONLY | _FOLDER, dir_fd=place)
            os.close(place)
            place = below
        return open_path(parts[-1], place)
    finally:
        os.close(place)


def _resolved(folder: str, parts: list[str]) -> str:
    """The path of a file without any link, where folders cannot be opened."""
    path = os.path.join(os.path.realpath(folder), *parts)
    if os.path.realpath(path) != path:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
    return path
