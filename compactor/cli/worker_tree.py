"""Contexts that have workers, and these below them, as a tree."""

from __future__ import annotations

import json
from collections.abc import Iterable

from compactor.cli.at_once import at_once
from compactor.cli.exits import Fault
from compactor.cli.http_client import HttpClient
from compactor.cli.targets import Target, parse_target

_PATH = "/workers/status.json"
_MOST = 1024  # workers of one context


def with_workers(client: HttpClient, targets: Iterable[Target]) -> list[tuple[Target, str]]:
    """Some contexts, each with its workers behind it, and what to call each of them.

    Args:
        client: asks them; those that do not answer have no workers.
        targets: the contexts.
    """
    all_targets = list(targets)
    found = []
    workers = at_once(lambda target: _workers_of(client, target), all_targets)
    for target, of_this in zip(all_targets, workers, strict=True):
        found.append((target, target.host))
        for number, worker in () if isinstance(of_this, Fault) else of_this:
            found.append((worker, f"  worker {number}, {worker.host}"))
    return found


def _workers_of(client: HttpClient, target: Target) -> list[tuple[int, Target]]:
    try:
        reply = client.ask(target, _PATH)
        told = json.loads(reply.body) if reply.status == 200 else {}
        return [
            (int(each["number"]), Target(parse_target(each["address"]).pid, target.tls))
            for each in told.get("workers", [])[:_MOST]
            if each["address"]
        ]
    except (
        Fault,
        ValueError,
        OverflowError,
        TypeError,
        LookupError,
        AttributeError,
        RecursionError,
    ):  # whatever serves there
        return []
