"""Who asks, and what they may: authenticators of realms, authorization, disabled endpoints.

An ``Access`` says it, and is given to a context as ``access=``.  The ``Guard`` of the context asks
it about each request that reaches a locked endpoint, before its process sees the request.  A
context without one never imports this room.
"""

from compactor.auth.access import Access, Authorizer, Check
from compactor.auth.basic import Basic
from compactor.auth.passwords import hash_password
from compactor.auth.principal import Authenticator, Forbidden, Principal, Unauthorized
from compactor.auth.tokens import Jwt

__all__ = [
    "Access",
    "Authenticator",
    "Authorizer",
    "Basic",
    "Check",
    "Forbidden",
    "Jwt",
    "Principal",
    "Unauthorized",
    "hash_password",
]
