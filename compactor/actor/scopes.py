"""Scopes: what keeps the context variables of one process from those of all others."""

from __future__ import annotations

import contextvars


class Scopes:
    """Makes scopes, which are contexts of ``contextvars``: ``run(call, a, b)`` makes a call in one,
    and ``len`` is the number of variables that are set; never instantiated.
    """

    new = contextvars.Context
    """A scope where nothing is set."""

    copy = staticmethod(contextvars.copy_context)
    """A copy of the context that the caller runs in."""

    set_variable = contextvars.ContextVar.set
    """Set a variable in the context of the caller; returns what ``reset_variable`` takes."""

    reset_variable = contextvars.ContextVar.reset


scopes = Scopes
