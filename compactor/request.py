"""``encode_request`` where compactor 0.3.0 had it, byte for byte.  Contexts do not use it."""

from __future__ import annotations

from compactor.pid import PID


def encode_request(
    from_pid: PID,
    to_pid: PID,
    method: str,
    body: bytes | bytearray | None = None,
    content_type: str | None = None,
    legacy: bool = False,
) -> bytes:
    """Encode one message as compactor 0.3.0 did: HTTP/1.0 with a ``Content-Length``.

    Args:
        from_pid, to_pid: sender and receiver.
        method: the message name.
        body: the content, or None for none.
        content_type: value of a ``Content-Type`` header.
        legacy: name the sender in ``User-Agent`` instead of ``Libprocess-From``.

    Raises:
        TypeError: ``body`` is not bytes.
    """
    body = b"" if body is None else body
    if not isinstance(body, (bytes, bytearray)):
        raise TypeError("Body must be a sequence of bytes.")
    lines = [
        f"POST /{to_pid.id}/{method} HTTP/1.0",
        "Connection: Keep-Alive",
        f"Content-Length: {len(body)}",
        f"User-Agent: libprocess/{from_pid}" if legacy else f"Libprocess-From: {from_pid}",
    ]
    if content_type is not None:
        lines.append(f"Content-Type: {content_type}")
    return "\r\n".join([*lines, "", ""]).encode() + body
