"""``Jwt``: bearer tokens that are signed, as RFC 7519 has them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from compactor.auth.principal import Authenticator, Principal, Unauthorized
from compactor.errors import MissingPackage, SettingsError
from compactor.http.request import Request
from compactor.system import clock

Key = str | bytes
_LEAST = {"HS256": 32, "HS384": 48, "HS512": 64}  # bytes of a key, as RFC 7518 asks
_LONGEST = 16 * 1024  # characters of a token


class Jwt(Authenticator):
    """Signed tokens in ``Authorization: Bearer``; the extra ``auth`` brings what reads them.

    The principal has the name of ``sub``, and all claims.

    Args:
        key: verifies signatures: a secret for ``HS256`` and its like, else a public key in PEM;
            or several, by the ``kid`` of tokens.
        algorithms: those that are accepted, all of one kind, such as ``["RS256"]``.
        audience: one of these must be in ``aud``; None for tokens without it.
        issuer: must be ``iss``; None for any.
        require: claims that a token must have.
        leeway: seconds that clocks may differ by.

    Raises:
        SettingsError: a key or algorithm that cannot be used; the text quotes no key.
        MissingPackage: PyJWT is not installed.
    """

    scheme = "Bearer"
    reads_body = False

    def __init__(
        self,
        key: Key | Mapping[str, Key],
        *,
        algorithms: Iterable[str],
        audience: str | Iterable[str] | None = None,
        issuer: str | None = None,
        require: Iterable[str] = ("exp",),
        leeway: float = 0.0,
    ) -> None:
        self._jwt = jwt_module()
        self._algorithms = self._checked(algorithms)
        keys = key if isinstance(key, Mapping) else {"": key}
        if not keys:
            raise SettingsError("Jwt: key must be a key, or keys by their kid")
        self._has_kids = isinstance(key, Mapping)
        self._keys = {kid: self._prepared(one) for kid, one in keys.items()}
        self._audience = [audience] if isinstance(audience, str) else audience and list(audience)
        self._issuer = issuer
        self._require = _names("require", require)
        if not isinstance(leeway, (int, float)) or not 0 <= leeway < math.inf:
            raise SettingsError(f"Jwt: leeway={leeway!r} must be a number of seconds, 0 or more")
        self._leeway = leeway

    def _checked(self, algorithms: Iterable[str]) -> list[str]:
        names = _names("algorithms", algorithms)
        kinds: set[type] = set()
        for name in names:
            try:
                algorithm = self._jwt.get_algorithm_by_name(name)
            except NotImplementedError:
                algorithm = None
            if algorithm is None or name.lower() == "none":
                raise SettingsError(
                    f"Jwt: algorithms={names!r} must be names such as 'HS256' or 'RS256': "
                    f"{name!r} verifies nothing, or needs the package cryptography"
                )
            kinds.add(type(algorithm))
        if len(kinds) != 1:
            raise SettingsError(
                f"Jwt: algorithms={names!r} must be of one kind, for one kind of key"
            )
        return names

    def _prepared(self, key: Any) -> Any:
        if not isinstance(key, (str, bytes)) or not key:
            raise SettingsError("Jwt: a key is a str or bytes, and not empty")
        least = max(_LEAST.get(name, 0) for name in self._algorithms)
        if len(key.encode() if isinstance(key, str) else key) < least:
            raise SettingsError(f"Jwt: the key must have {least} bytes for {self._algorithms!r}")
        try:
            self._jwt.get_algorithm_by_name(self._algorithms[0]).prepare_key(key)
        except Exception as error:
            raise SettingsError(
                f"Jwt: the key cannot be used for {self._algorithms!r} ({type(error).__name__})"
            ) from None
        return key

    def authenticate(self, request: Request) -> Principal | Unauthorized:
        """Who has sent a request."""
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return Unauthorized()
        claims: dict[str, Any] = {}
        try:
            claims = self._claims(token.strip(" "))
            why = self._why_late(claims)
        except Exception as error:  # whatever the token has made of the reader
            why = self._told(error)
        if not why:
            name = claims.get("sub")
            return Principal(name if isinstance(name, str) else None, claims)
        told = {"error": "invalid_token", "error_description": why}
        return Unauthorized(f"the token is refused: {why}", told)

    def _claims(self, token: str) -> dict[str, Any]:
        if len(token) > _LONGEST:
            raise ValueError
        head = self._jwt.get_unverified_header(token)
        if "crit" in head:  # what has to be understood, and older readers look over
            raise ValueError
        key = self._keys.get("")
        if self._has_kids:
            key = self._keys.get(head.get("kid", ""))
            if key is None:
                raise self._jwt.InvalidKeyError
        # Times are looked at by our own clock.
        no_times = dict.fromkeys(("verify_exp", "verify_nbf", "verify_iat"), False)
        claims: dict[str, Any] = self._jwt.decode(
            token,
            key,
            algorithms=self._algorithms,
            audience=self._audience,
            issuer=self._issuer,
            options={**no_times, "require": self._require},
        )
        return claims

    def _why_late(self, claims: dict[str, Any]) -> str:
        """What is wrong with the times of a token; empty if nothing is."""
        if not claims:
            return "it has no claims"
        now = clock.date()
        for name in ("exp", "nbf"):
            if name not in claims:
                continue
            time = claims[name]
            if type(time) not in (int, float) or not math.isfinite(time):
                return f"{name} is no time"
            if name == "exp" and time + self._leeway <= now:
                return "it has expired"
            if name == "nbf" and time - self._leeway > now:
                return "it is not valid yet"
        return ""

    def _told(self, error: Exception) -> str:
        """What is wrong with a token, in words that quote nothing of it."""
        jwt = self._jwt
        for kind, why in (
            (jwt.InvalidAlgorithmError, "its algorithm is not accepted"),
            (jwt.InvalidSignatureError, "its signature is wrong"),
            (jwt.InvalidKeyError, "nobody here knows its key"),
            (jwt.InvalidAudienceError, "it is for somebody else"),
            (jwt.InvalidIssuerError, "it is from somebody else"),
        ):
            if isinstance(error, kind):
                return why
        if isinstance(error, jwt.MissingRequiredClaimError):
            return "a claim is missing"
        return "it is malformed"

    def __repr__(self) -> str:
        return f"<Jwt: {', '.join(self._algorithms)}>"


def jwt_module() -> Any:
    """The package that reads tokens.

    Raises:
        MissingPackage: it is not installed.
    """
    try:
        import jwt
    except ModuleNotFoundError as error:
        if error.name != "jwt":
            raise
        raise MissingPackage(
            "bearer tokens are read by the package PyJWT; pip install 'compactor[auth]' brings it"
        ) from None
    return jwt


def _names(what: str, given: Any) -> list[str]:
    if isinstance(given, (str, bytes)) or not isinstance(given, Iterable):
        raise SettingsError(f"Jwt: {what} must be a list of names, not {given!r}")
    names = list(given)
    if not all(isinstance(name, str) for name in names):
        raise SettingsError(f"Jwt: {what} must be a list of names, not {names!r}")
    return names
