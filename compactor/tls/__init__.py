"""TLS: its settings, whom to trust, and the records around the bytes.

``TlsSettings`` is what a program says of TLS.  ``Tls`` makes OpenSSL's contexts of it, and makes
them anew when keys and certificates have changed; open connections stay as they are.

A dialled connection is TLS from its first byte.  An accepted one comes to the ``TlsAcceptor``, and
where plain peers are served too, its first bytes are read before it is known what it is.  asyncio's
own TLS could not begin then: it takes no bytes that were read before.

Either way a ``TlsTransport`` stands between the socket and the protocol that serves the connection,
which does not know of it.  Its ``Records`` are TLS from bytes to bytes, without any socket.  Its
``Handshake`` waits until OpenSSL is done and the ``Verifier`` knows the peer, or time is up.
"""
