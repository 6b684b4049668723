"""Handlers and routes bound to a process: the calls that it is handed messages and requests by."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from compactor.actor.concurrent import concurrent_call, concurrent_route
from compactor.actor.handlers import (
    CONCURRENT,
    INSTALL_ATTRIBUTE,
    ROUTE_ATTRIBUTE,
    STREAMED,
    HandlerTable,
    bound,
)
from compactor.actor.protobuf import without_parsing
from compactor.actor.route_methods import name_of, served_as
from compactor.actor.routes import Call
from compactor.process import Process


def bind_handler(process: Process, name: str) -> Call | None:
    """The call that hands a message named ``name`` to ``process``, or None.

    An attribute of the instance that shadows an installed method is not looked at.
    """
    messages = process.__handlers__().messages
    if name not in messages:
        return None  # ``handle_message`` sees it; nothing remembers a name that a peer made up
    method, message_type = messages[name]
    if type(process).handle_message is not Process.handle_message:
        call: Call = functools.partial(process.handle_message, name)
    elif message_type is None:
        call = bound(method, process)
    else:
        types = process.context._types
        call = types.decoding(bound(without_parsing(method), process), message_type)
    table = process.__handlers__()
    if name in table.answers:
        form = None if message_type is None else process.context._types.answers(message_type)
        encode = None if form is None else form.encode
        call = process.context._answering(process, name, call, encode)
    if table.traits and (INSTALL_ATTRIBUTE, name, CONCURRENT) in table.traits:
        return concurrent_call(process, call)
    return call


def is_streamed(table: HandlerTable, route: str, method: str) -> bool:
    """Whether a route reads the bodies of requests as they come."""
    name = name_of(served_as(table.routes[route], method), route)
    return (ROUTE_ATTRIBUTE, name, STREAMED) in table.traits


def bind_route(process: Process, route: str) -> Callable[[Any], Any]:
    """The call that hands a request to the route of ``process`` with that path."""
    table = process.__handlers__()
    call: Callable[[Any], Any]
    if type(process).handle_http is not Process.handle_http:
        call = functools.partial(process.handle_http, route)
    else:
        call = bound(table.routes[route], process)
    if any(kind == ROUTE_ATTRIBUTE for kind, _, _ in table.traits):

        def is_concurrent(method: str) -> bool:
            name = name_of(served_as(table.routes[route], method), route)
            return (ROUTE_ATTRIBUTE, name, CONCURRENT) in table.traits

        return concurrent_route(process, call, is_concurrent)
    return call
