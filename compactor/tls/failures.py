"""Why there is no TLS with a peer: ``TlsError``, and the errors of OpenSSL in words."""

from __future__ import annotations

import ssl


class TlsError(ConnectionError):
    """A handshake failed, or the peer is not who it must be; the text says why."""


def describe(error: BaseException) -> str:
    """An error of TLS in words."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate of the peer is refused: {error.verify_message}"
    if isinstance(error, ssl.SSLError) and getattr(error, "reason", None):  # not of one made here
        return _IN_WORDS.get(error.reason) or error.reason.lower().replace("_", " ")
    return str(error) or type(error).__name__


_IN_WORDS = {
    "HTTP_REQUEST": "the peer does not speak TLS, but plain HTTP",
    "WRONG_VERSION_NUMBER": "the peer does not speak TLS",
    "UNKNOWN_PROTOCOL": "the peer does not speak TLS",
    "NO_SHARED_CIPHER": "no cipher is enabled on both sides",
    "UNSUPPORTED_PROTOCOL": "no version of TLS is enabled on both sides",
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "the peer shows no certificate, and one is required",
}
