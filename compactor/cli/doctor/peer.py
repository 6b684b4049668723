"""What lives at the address of a peer, what it thinks of us, and whether it reaches us."""

from __future__ import annotations

import difflib
import email.utils
import functools
from collections.abc import Iterator
from typing import Any

from compactor.cli.access import Access
from compactor.cli.commands.send import path_of
from compactor.cli.doctor.finding import Finding, note, ok, problem
from compactor.cli.doctor.own_address import OwnAddress
from compactor.cli.doctor.wires import Wires
from compactor.cli.exits import Exit, Fault
from compactor.cli.http_client import HttpClient, Reply, dial
from compactor.cli.targets import Target, parse_target
from compactor.pid import NOBODY, PID
from compactor.system import clock
from compactor.system.names import ip_of

_SKEW = 5.0  # seconds that clocks may differ before it matters to tokens and certificates
_PROBE = "compactor.doctor"  # a message that no process handles


class Peer:
    """A peer, as seen from here.

    Args:
        target: where it is, and maybe a process there.
        access: how it is spoken to.
        here: the address of contexts here.
    """

    def __init__(self, target: Target, access: Access, here: OwnAddress) -> None:
        self._target = target
        self._access = access
        self._here = here
        self._client = HttpClient(access)

    def check(self) -> Iterator[Finding]:
        """Everything, from the wire up."""
        wires = Wires(self._target, self._access)
        yield from wires.check()
        if not wires.is_open:
            return
        try:
            reply = self._client.ask(self._target, "/version")
        except Fault as fault:
            yield problem(
                "http",
                fault.message,
                "is it a context? If it is one in TLS that wants a certificate, give --cert and "
                "--key of one that its CA has signed",
            )
            return
        is_ours = self._is_ours(reply)
        kind = f"compactor {is_ours}" if is_ours else self._kind()
        yield ok("http", f"{self._target.host} answers; it is {kind}")
        yield from self._clock(reply)
        if self._target.pid.id:
            yield from self._process()
        yield from self._reach() if is_ours else self._unknown_way_back()

    def _is_ours(self, reply: Reply) -> str:
        import json

        try:
            told = json.loads(reply.body)
            return str(told["version"]) if told["name"] == "compactor" else ""
        except (ValueError, LookupError, TypeError, RecursionError):
            return ""

    def _kind(self) -> str:
        is_cpp = "__processes__" in (self._known or ())  # which it lists among the others
        return "libprocess in C++" if is_cpp else "no compactor that tells it"

    def _clock(self, reply: Reply) -> Iterator[Finding]:
        try:
            there = email.utils.parsedate_to_datetime(reply.headers["date"]).timestamp()
        except (LookupError, ValueError, TypeError, OverflowError):
            return
        skew = there - clock.date()
        if abs(skew) <= _SKEW:
            yield ok("clock", "both machines show the same time")
            return
        ahead = "ahead of" if skew > 0 else "behind"
        yield problem(
            "clock",
            f"the clock of {self._target.host} is {abs(skew):,.0f} s {ahead} the one here",
            "certificates and tokens depend on it: have NTP keep both (chronyc tracking)",
        )

    def _process(self) -> Iterator[Finding]:
        """Whether the process lives."""
        pid = self._target.pid
        known = self._known
        if known is not None and pid.id in known:
            yield ok("process", f"{pid.id!r} lives there")
            return
        headers = {"Libprocess-From": str(NOBODY)}
        path = path_of(pid, _PROBE)
        try:
            status = self._client.ask(self._target, path, "POST", headers, b"").status
        except Fault as fault:
            yield note("process", f"whether {pid.id!r} lives there is not known: {fault.message}")
            return
        if status < 300:
            yield ok("process", f"{pid.id!r} lives there")
        elif status == 404:
            yield problem(
                "process", f"no process {pid.id!r} lives at {pid.host}", self._which(known)
            )
        else:
            why = f"a message for {pid.id!r} is answered with {status}"
            yield problem("process", why, "look at the log there: its rules may refuse us")

    @functools.cached_property
    def _known(self) -> list[str] | None:
        try:
            listed = self._client.json(self._target, "/__processes__")
            return [str(entry["id"]) for entry in listed]
        except (Fault, LookupError, TypeError):
            return None

    def _which(self, known: list[str] | None) -> str:
        if known is None:
            return "ids are compared to the letter; print process.pid in that program"
        named = [one for one in known if not one.startswith("__")]
        near = difflib.get_close_matches(self._target.pid.id, named, 5, 0.5)
        shown = near or sorted(named)[:10]
        which = ", ".join(map(repr, shown)) or "none"
        more = f", and {len(named) - len(shown)} more" if len(named) > len(shown) else ""
        return f"ids are compared to the letter; those that live there: {which}{more}"

    def _reach(self) -> Iterator[Finding]:
        """Whether it reaches us, and we its pids."""
        port = self._here.advertised[1] if self._here.advertised else None
        query = f"?port={port}" if port else ""
        try:
            told: Any = self._client.json(self._target, f"/compactor/reach{query}")
            advertised, client = parse_target(told["advertised"]), str(told["client"])
            outcome = str(told.get("outcome", ""))
        except (Fault, LookupError, TypeError, ValueError, AttributeError) as error:
            yield note("way back", f"whether it reaches us is not known: {error}")
            return
        yield from self._its_address(advertised)
        if self._here.advertised is not None:
            yield from self._our_address(self._here.advertised, client, outcome)

    def _its_address(self, advertised: Target) -> Iterator[Finding]:
        """What the pids of the peer say."""
        if advertised.pid.address == self._target.pid.address:
            yield ok("its address", f"its pids say {advertised.host}, too")
            return
        text = f"its pids say {advertised.host}, and you dial {self._target.host}"
        try:
            dial(advertised, self._access.timeout).close()
        except Fault as fault:
            yield problem(
                "its address",
                f"{text}; from here {fault.message.partition(';')[0]}",
                "answers, links and messages to its pids go there: set LIBPROCESS_ADVERTISE_IP "
                "and LIBPROCESS_ADVERTISE_PORT in that program to what you dial",
            )
        else:
            yield note("its address", f"{text}; from here both take connections")

    def _our_address(self, ours: tuple[str, int], client: str, outcome: str) -> Iterator[Finding]:
        """What our pids say, and how the peer sees us."""
        host = PID(*ours, "").host
        seen, said = ip_of(client), ip_of(ours[0])
        back = f"{self._target.host} connects to port {ours[1]} of {client}"
        way = (
            f"answers and exits come back on that way: open port {ours[1]} here in the firewalls, "
            "and let the program listen on that address (LIBPROCESS_IP)"
        )
        if outcome == "proxy":
            text = f"a proxy stands between, so whether {self._target.host} reaches us is not known"
            yield note("way back", text, f"run compactor doctor {host} on that machine")
        elif seen != said and not (seen and seen.is_loopback):
            state = note if outcome == "connected" else problem
            yield state(
                "way back",
                f"our pids say {host}, and {self._target.host} sees us as {client}"
                + ("" if outcome == "connected" else f", where port {ours[1]} is {outcome}"),
                f"if no network there leads to {ours[0]}, set LIBPROCESS_ADVERTISE_IP={client} "
                f"here; behind NAT, have it forward port {ours[1]}. Try there: compactor doctor "
                f"{host}",
            )
        elif outcome == "connected":
            yield ok("way back", f"{back}: it reaches us")
        else:
            yield problem("way back", f"{back} in vain: {outcome}", way)

    def _unknown_way_back(self) -> Iterator[Finding]:
        if self._here.advertised is not None:
            host = PID(*self._here.advertised, "").host
            yield note(
                "way back",
                "whether it reaches us cannot be asked of it",
                f"run on that machine, while your program runs here: compactor doctor {host}",
            )


def failed(findings: list[Finding]) -> Exit:
    """What the command ends with."""
    return Exit.FINDINGS if any(one.state == "problem" for one in findings) else Exit.DONE
