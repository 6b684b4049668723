"""``Guard``: lets the requests of one context in, or says what they are answered instead."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine, Generator
from typing import TYPE_CHECKING, Any, NamedTuple

from compactor.auth.principal import Authenticator, Forbidden, Principal, Unauthorized
from compactor.http.request import Request
from compactor.http.response import Response
from compactor.metrics.metrics import Metrics

if TYPE_CHECKING:
    from compactor.auth.access import Access

Verdict = Response | None
"""What a request is answered instead of being served; None lets it in."""

_Steps = Generator[Any, Any, Verdict]


class Lock(NamedTuple):
    """What has to be looked at before a request is served.

    Attributes:
        endpoint: that of the route or answer, or the path if there is none.
        realm: in which it is; empty for none.
        disabled: as what nobody gets it; empty if somebody may.
    """

    endpoint: str
    realm: str = ""
    disabled: str = ""


class _Failure(NamedTuple):
    """An authenticator or authorizer has raised an error."""

    why: str


class Guard:
    """Asks an ``Access`` about requests.

    Args:
        access: who may what.
        metrics: counts and logs who may not.
    """

    def __init__(self, access: Access, metrics: Metrics) -> None:
        self.access = access
        self._metrics = metrics

    def lock(self, endpoint: str, path: str, realm: str) -> Lock | None:
        """What locks an endpoint; None if nothing does.

        Args:
            path: that of the request, in its plainest spelling.
            realm: that of the route; empty for none.
        """
        access = self.access
        disabled = next((e for e in (path, endpoint) if e in access.disabled_endpoints), "")
        # A realm that is not known is locked, and nobody has the key.
        is_in_realm = bool(realm and access.authenticators.get(realm, True))
        if disabled or is_in_realm or endpoint in access.authorizers:
            return Lock(endpoint, realm if is_in_realm else "", disabled)
        return None

    def lock_of_own(self, endpoint: str, path: str, realm: str) -> Lock | None:
        """The same of what every context serves, whose realm nobody has to know."""
        is_known = realm in self.access.authenticators
        return self.lock(endpoint, path, realm if is_known else "")

    def check(self, lock: Lock, request: Request) -> Verdict | Coroutine[Any, Any, Verdict]:
        """Whether a request is let in; what it is answered if not.

        It has its ``principal`` then.  A coroutine of this, if somebody has to be waited for.
        """
        return _begun(self._steps(lock, request, self._looked_at))

    def check_head(self, lock: Lock, request: Request) -> Verdict | Coroutine[Any, Any, Verdict]:
        """The same of a request whose body has not come: what it is answered whatever that is.

        Who is not refused is checked again, with the body.
        """
        all_of_realm = self.access.authenticators.get(lock.realm, ()) if lock.realm else ()
        if any(getattr(one, "reads_body", True) for one in all_of_realm) and not lock.disabled:
            return None
        return _begun(self._steps(lock, request, self._looked_at_head))

    def timed_out(self, lock: Lock, seconds: float) -> None:
        """Nobody has said in time whether a request is let in."""
        self._metrics.access_failed(lock.endpoint, f"it takes longer than {seconds:g} s")

    def _steps(
        self, lock: Lock, request: Request, look: Callable[[Lock, Request], _Steps]
    ) -> _Steps:
        """A check, as a generator of what has to be awaited; it never fails itself."""
        try:
            return (yield from look(lock, request))
        except Exception as error:  # a challenge that cannot be sent, for one
            return self._failed(lock, _failure(error))

    def _looked_at_head(self, lock: Lock, request: Request) -> _Steps:
        who = yield from self._who(lock, request)
        return who if isinstance(who, Response) else None

    def _who(self, lock: Lock, request: Request) -> Generator[Any, Any, Any]:
        """Who has sent a request, None if nobody has to know; what it is answered if refused."""
        if lock.disabled:
            self._metrics.access_denied(request.peer[0], lock.disabled, "it is disabled")
            return Response.error(403, f"Endpoint '{lock.disabled}' is disabled")
        return (yield from self._authenticate(lock, request)) if lock.realm else None

    def _looked_at(self, lock: Lock, request: Request) -> _Steps:
        ip = request.peer[0]
        principal = yield from self._who(lock, request)
        if isinstance(principal, Response):
            return principal
        authorizer = self.access.authorizers.get(lock.endpoint)
        if authorizer is not None:
            said = yield from _called(authorizer, request, principal)
            if not isinstance(said, bool):
                return self._failed(lock, said)
            if not said:
                self._metrics.access_denied(ip, lock.endpoint, "its authorizer says no")
                return Response.error(403)
        request.let_in(lock, principal)
        return None

    def _failed(self, lock: Lock, said: Any) -> Response:
        """What is answered where somebody has failed, or says what it may not."""
        why = said.why if isinstance(said, _Failure) else f"it returned a {type(said).__name__}"
        self._metrics.access_failed(lock.endpoint, why)
        return Response.error(500)

    def _authenticate(self, lock: Lock, request: Request) -> Generator[Any, Any, Any]:
        """Who has sent a request; what it is answered if nobody knows."""
        ip, realm = request.peer[0], lock.realm
        challenges: list[str] = []
        reasons: list[str] = []
        for one in self.access.authenticators.get(realm, ()):
            is_ours = isinstance(one, Authenticator)
            said = yield from _called(one.authenticate if is_ours else one, request)
            if isinstance(said, str) and said:
                said = Principal(said)
            if isinstance(said, Principal):
                return said
            if said is None:
                said = Unauthorized()
            if isinstance(said, Forbidden):
                reasons.append(said.why or "its authenticator says no")
            elif isinstance(said, Unauthorized):
                scheme = said.scheme or (one.scheme if is_ours else Authenticator.scheme)
                challenges.append(_challenge(scheme, realm, said))
                reasons.append(said.why)
            else:
                return self._failed(lock, said)
        why = "; ".join(filter(None, reasons))
        if not challenges:
            self._metrics.access_denied(ip, lock.endpoint, why or "nobody knows its realm")
            return Response.error(403)
        if why or "Authorization" in request.headers:
            self._metrics.credentials_refused(ip, realm, why or "nobody takes them")
        response = Response.error(401)
        for challenge in challenges:
            response.headers.add("WWW-Authenticate", challenge)
        return response


def _begun(steps: _Steps) -> Verdict | Coroutine[Any, Any, Verdict]:
    """What a check has found; a coroutine of this, if somebody has to be waited for."""
    try:
        awaited = next(steps)
    except StopIteration as stop:
        verdict: Verdict = stop.value
        return verdict
    return _finish(steps, awaited)


def _challenge(scheme: str, realm: str, said: Unauthorized) -> str:
    given = {"realm": realm, **said.parameters}
    told = (f"{name}={_quoted(value)}" for name, value in given.items())
    return f"{scheme} {', '.join(told)}"


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _called(call: Any, *args: Any) -> Generator[Any, Any, Any]:
    """What a function of the program says; its errors may quote credentials, and are not told."""
    try:
        result = call(*args)
        if inspect.isawaitable(result):
            result = yield result
        return result
    except Exception as error:
        return _failure(error)


def _failure(error: BaseException) -> _Failure:
    """What is told of an error: where it was raised, and not what it says."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = ""
    if trace is not None:
        code = trace.tb_frame.f_code
        where = f" in {code.co_name} ({code.co_filename}:{trace.tb_lineno})"
    return _Failure(f"{type(error).__name__}{where}")


async def _finish(steps: _Steps, awaited: Any) -> Verdict:
    """The rest of a check, of which somebody has to be waited for."""
    while True:
        try:
            try:
                value = await awaited
            except Exception as error:
                awaited = steps.throw(error)
            else:
                awaited = steps.send(value)
        except StopIteration as stop:
            verdict: Verdict = stop.value
            return verdict
