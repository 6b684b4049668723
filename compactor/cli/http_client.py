"""``HttpClient``: what commands ask contexts over HTTP, on one connection each.

Everything has a bound: the seconds of all of it, however slowly the peer talks, and the bytes.
"""

from __future__ import annotations

import contextlib
import errno
import http.client
import io
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from compactor.cli.access import Access
from compactor.cli.credentials import answer_to, challenges
from compactor.cli.exits import Exit, Fault, note
from compactor.cli.lenient_json import loads
from compactor.cli.targets import Target
from compactor.system import clock
from compactor.system.names import ip_of
from compactor.tls.failures import describe

MOST_BYTES = 64 * 1024 * 1024  # of one answer, its head and all

_PIECE = 64 * 1024  # bytes that are read at a time
_HEADERS = {"User-Agent": "compactor", "Accept": "text/plain, */*;q=0.9"}
_TLS_RECORDS = (0x14, 0x15, 0x16, 0x17)  # how anything of TLS begins


@dataclass(frozen=True)
class Reply:
    """What a context has answered.

    Attributes:
        status: that of HTTP.
        headers: the fields, by lower-case name; of several of one name the last.
        body: the content.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        """The content as text, whatever it is."""
        return self.body.decode("utf-8", "replace")


class HttpClient:
    """Asks contexts.

    Args:
        access: TLS, credentials and times.
    """

    def __init__(self, access: Access) -> None:
        self.access = access
        self._warned: set[str] = set()

    def json(self, target: Target, path: str, method: str = "GET") -> Any:
        """What an endpoint says in JSON.

        Raises:
            Fault: there is none; the text says why.
        """
        reply = self.ask(target, path, method)
        check_status(target, path, reply)
        try:
            return loads(reply.body)
        except (ValueError, RecursionError):
            kind = reply.headers.get("content-type", "something")
            raise Fault(
                Exit.REFUSED, f"{target.host} answers {path} with {kind} instead of JSON"
            ) from None

    def ask(
        self,
        target: Target,
        path: str,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> Reply:
        """Ask, and if credentials are asked for that are known, ask again with those.

        Raises:
            Fault: there is no answer; the text says why, and what would help.
        """
        until = clock.now() + self.access.timeout
        reply, asked = self._once(target, path, method, headers or {}, body, until)
        if reply.status == 401:
            known = answer_to(challenges(asked), self.access.credentials)
            if known is not None:
                self._warn_of_the_open(target)
                more = {**(headers or {}), "Authorization": known.header()}
                reply, _ = self._once(target, path, method, more, body, until)
        return reply

    def _warn_of_the_open(self, target: Target) -> None:
        """Say once that a secret can be read on its way."""
        ip = ip_of(target.pid.ip)
        is_here = target.pid.ip == "localhost" if ip is None else ip.is_loopback
        if not is_here and not self.access.speaks_tls(target) and target.host not in self._warned:
            self._warned.add(target.host)
            note(f"without TLS, whoever is on the way to {target.host} can read the credentials")

    def _once(
        self,
        target: Target,
        path: str,
        method: str,
        headers: Mapping[str, str],
        body: bytes | None,
        until: float,
    ) -> tuple[Reply, list[str]]:
        """One request, its answer, and the challenges in that."""
        tls = self.access.speaks_tls(target)
        connection = _Connection(target, self.access.ssl_context() if tls else None, until)
        all_headers = {**_HEADERS, "Host": _host_field(target), "Connection": "close", **headers}
        seconds = self.access.timeout
        try:
            connection.request(method, path, body, all_headers)
            answer = connection.getresponse()
            content = _content_of(answer, target)
        except Fault:
            raise
        except TimeoutError:
            raise Fault(
                Exit.TIMEOUT,
                f"{target.host} has not answered {path} within {seconds:g} s, though it is "
                "connected: it is busy or stopped; --timeout gives it longer",
            ) from None
        except (OSError, http.client.HTTPException, ValueError, OverflowError) as error:
            raise self._broken(target, connection, tls, error) from None
        finally:
            connection.end()
        fields = {name.lower(): value for name, value in answer.getheaders()}
        challenge = answer.headers.get_all("www-authenticate") or []
        return Reply(answer.status, fields, content), challenge

    def _broken(
        self, target: Target, connection: _Connection, tls: bool, error: Exception
    ) -> Fault:
        """Why there is no answer although there was a connection."""
        if connection.first in _TLS_RECORDS and not tls:
            return Fault(
                Exit.TLS,
                f"{target.host} speaks TLS: give --tls, and --ca with the CA of its certificate",
            )
        if isinstance(error, ConnectionError):
            may_be_tls = "" if tls else ", as one does that speaks TLS (see --tls)"
            return Fault(
                Exit.LOST, f"{target.host} has closed the connection without an answer{may_be_tls}"
            )
        if isinstance(error, ssl.SSLError):
            return tls_fault(target, error)
        what = str(error) or type(error).__name__
        return Fault(Exit.REFUSED, f"{target.host} answers with what is no HTTP: {what}")


def _content_of(answer: http.client.HTTPResponse, target: Target) -> bytes:
    """What an answer has, however much it says that it has; how much there may be, its reader says.

    Raises:
        Fault: it is too much.
    """
    if (answer.length or 0) > MOST_BYTES:
        raise too_much(target.host)
    pieces = []
    while piece := answer.read(_PIECE):
        pieces.append(piece)
    if answer.length:  # of what it has said
        raise http.client.IncompleteRead(b"", answer.length)
    return b"".join(pieces)


def too_much(host: str) -> Fault:
    """An answer is larger than any that is expected."""
    return Fault(Exit.REFUSED, f"{host} answers with more than {MOST_BYTES >> 20} MiB")


def check_status(target: Target, path: str, reply: Reply) -> None:
    """Have a command end that was not answered with 200 and so on.

    Raises:
        Fault: with the status, and what the context says.
    """
    if 200 <= reply.status < 300:
        return
    said = " ".join(reply.text.split())[:300]
    where = f"{target.host}{path.partition('?')[0]}"
    if reply.status == 401:
        asked = reply.headers.get("www-authenticate", "")
        raise Fault(
            Exit.DENIED,
            f"{where} wants to know who asks ({asked}): give --credentials, or COMPACTOR_USER and "
            "COMPACTOR_PASSWORD, or COMPACTOR_TOKEN; what was given was refused, or is for "
            "another realm",
        )
    if reply.status == 403:
        raise Fault(Exit.DENIED, f"{where} is forbidden: {said}")
    if reply.status == 404:
        raise Fault(Exit.NOT_FOUND, f"there is no {where}: {said}")
    if reply.status in (504, 408):
        raise Fault(Exit.TIMEOUT, f"{where} has answered {reply.status}: {said}")
    raise Fault(Exit.REFUSED, f"{where} has answered {reply.status}: {said}")


def tls_fault(target: Target, error: Exception) -> Fault:
    """Why there is no TLS with a context, and what would help."""
    why = describe(error)
    if isinstance(error, ssl.SSLCertVerificationError):
        if error.verify_code in (62, 64):  # of OpenSSL: the name, or the address, does not match
            help_ = "dial it by a name that its certificate has; compactor doctor shows those"
        elif error.verify_code == 10:
            help_ = "it has to be renewed"
        else:
            help_ = "give the CA that has signed it with --ca"
        return Fault(Exit.TLS, f"{target.host}: {why}; {help_}")
    if "not speak TLS" in why:
        return Fault(Exit.TLS, f"{target.host}: {why}; leave out --tls and --ca, or give --no-tls")
    if "certificate" in why:
        why += "; give yours with --cert and --key"
    return Fault(Exit.TLS, f"no TLS with {target.host}: {why}")


def _host_field(target: Target) -> str:
    """The host as a header has it, which may be in any script."""
    return target.host.encode().decode("latin-1")


@contextlib.contextmanager
def cut_at(until: float, sock: socket.socket) -> Iterator[None]:
    """Shut a connection down when time is over, however the peer spends it."""

    def cut() -> None:
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(max(until - clock.now(), 0.001), cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


class _Connection(http.client.HTTPConnection):
    """A connection that ends in time.

    Attributes:
        first: the first byte that came; None before it does.
    """

    def __init__(self, target: Target, tls: ssl.SSLContext | None, until: float) -> None:
        super().__init__(target.pid.ip, target.pid.port)
        self.host_and_port = target.host
        self._target = target
        self._tls = tls
        self._until = until
        self._real: socket.socket | None = None
        self.first: int | None = None

    def connect(self) -> None:
        """Connect, and shake hands.

        Raises:
            Fault: that did not work.
        """
        sock = dial(self._target, max(self._until - clock.now(), 0.001))
        try:
            if self._tls is not None:
                sock = shake_hands(self._target, sock, self._tls, self._until)
        except BaseException:
            sock.close()
            raise
        self._real = sock
        self.sock: Any = _Timed(sock, self._until, self)

    def end(self) -> None:
        """Close it."""
        if self._real is not None:
            self._real.close()


def dial(target: Target, seconds: float) -> socket.socket:
    """A connection to a context, which is waited for so long.

    Raises:
        Fault: there is none; the text says why, and what would help.
    """
    host, port = target.pid.address
    try:
        return socket.create_connection((host, port), timeout=seconds)
    except (socket.gaierror, UnicodeError):
        raise Fault(
            Exit.UNREACHABLE, f"no address is found for the host name {host!r}: is it spelt right?"
        ) from None
    except ConnectionRefusedError:
        raise Fault(
            Exit.UNREACHABLE,
            f"nobody listens at {target.host}: the program has ended, or has another port",
        ) from None
    except TimeoutError:
        raise Fault(
            Exit.UNREACHABLE,
            f"{target.host} has not answered within {seconds:.3g} s: a firewall drops what goes "
            "there, or no machine has that address",
        ) from None
    except OSError as error:
        no_route = error.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH)
        why = "no network leads there" if no_route else error.strerror or str(error)
        raise Fault(Exit.UNREACHABLE, f"{target.host} cannot be reached: {why}") from None


def shake_hands(
    target: Target, sock: socket.socket, tls: ssl.SSLContext, until: float
) -> ssl.SSLSocket:
    """TLS on a connection.

    Raises:
        Fault: there is none; the text says why, and what would help.
    """
    sock.settimeout(max(until - clock.now(), 0.001))
    try:
        with cut_at(until, sock):
            return tls.wrap_socket(sock, server_hostname=target.pid.ip)
    except TimeoutError:
        raise Fault(
            Exit.TLS,
            f"{target.host} accepts connections, but says nothing in TLS: it is no port of TLS, "
            "or is stuck",
        ) from None
    except ssl.SSLError as error:
        raise tls_fault(target, error) from None
    except (OSError, ValueError) as error:
        why = "the connection was closed" if isinstance(error, OSError) else str(error)
        raise Fault(
            Exit.TLS,
            f"no TLS with {target.host}: {why}; leave out --tls and --ca if it speaks none",
        ) from None


class _Timed:
    """A socket as ``http.client`` uses it, whose every step ends when all time is over."""

    def __init__(self, sock: socket.socket, until: float, connection: _Connection) -> None:
        self._sock = sock
        self._until = until
        self._connection = connection

    def _hurry(self) -> None:
        left = self._until - clock.now()
        if left <= 0:
            raise TimeoutError
        self._sock.settimeout(left)

    def sendall(self, data: Any) -> None:
        """Send; a peer that answers before it has read everything is heard."""
        view = memoryview(data)
        while view:
            self._hurry()
            view = view[self._sock.send(view) :]

    def makefile(self, *_: Any) -> io.BufferedReader:
        """What is read."""
        return io.BufferedReader(_Reader(self._sock, self._hurry, self._connection), 65536)

    def close(self) -> None:
        """Whoever uses it has read the head; the content may still come."""


class _Reader(io.RawIOBase):
    def __init__(self, sock: socket.socket, hurry: Any, connection: _Connection) -> None:
        self._sock = sock
        self._hurry = hurry
        self._connection = connection
        self._left = MOST_BYTES

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._hurry()
        size = self._sock.recv_into(buffer)
        self._left -= size
        if self._left < 0:
            raise too_much(self._connection.host_and_port)
        if size and self._connection.first is None:
            self._connection.first = buffer[0]
        return size
