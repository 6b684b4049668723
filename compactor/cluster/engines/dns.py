"""``dns+srv://``: names that stand in the DNS as SRV records, looked up again as they grow old."""

from __future__ import annotations

import asyncio
import importlib
import ipaddress
import itertools
from collections.abc import Callable
from typing import Any

from compactor.cluster.engine import NAMES, Engine, Feeds, Record, Told
from compactor.cluster.errors import ClusterUnreachable
from compactor.cluster.records import written
from compactor.cluster.urls import ClusterUrl
from compactor.errors import MissingPackage
from compactor.pid import PID

_LIFETIME = 5.0  # seconds that a look-up may take, with all its tries
_LEAST, _MOST = 1.0, 30.0  # seconds from one look-up to the next, whatever its TTL
_MOST_TARGETS = 1000  # of a name; no answer of a server is larger


def _dns() -> Any:
    try:
        for module in ("asyncresolver", "exception", "name", "rdatatype"):
            importlib.import_module(f"dns.{module}")
        return importlib.import_module("dns")
    except ImportError as error:
        raise MissingPackage(
            "dns+srv:// needs the package dnspython: pip install 'compactor[dns]'"
        ) from error


class DnsEngine(Engine):
    """Names of a domain: ``orders`` is ``_orders._tcp.example.com``, its pids ``orders@host:port``.

    Args:
        url: ``dns+srv://example.com``, asked of the servers of this machine; or
            ``dns+srv://10.0.0.53:53/example.com``, of that one.
    """

    capabilities = frozenset({NAMES})

    def __init__(self, url: ClusterUrl) -> None:
        self._dns = dns = _dns()
        url.check_options(())
        path = url.path.strip("/")
        servers = list(url.hosts) if path else []
        domain = path or ",".join(host if not port else "" for host, port in url.hosts)
        if not domain or "/" in path or len(url.hosts) > 1:
            _refuse(url, "it is dns+srv://domain, or dns+srv://server:port/domain")
        try:
            self._domain = dns.name.from_text(domain)
            for host, _ in servers:
                ipaddress.ip_address(host)
        except (ValueError, UnicodeError, dns.exception.DNSException) as error:
            _refuse(url, f"{error}")
        self._servers = [(host, port or 53) for host, port in servers]
        self._resolver: Any = None
        self._numbers = itertools.count(1)
        self._feeds = Feeds(self._feed)

    async def begin(self, session: float) -> float:
        dns = self._dns
        try:
            self._resolver = dns.asyncresolver.Resolver(configure=not self._servers)
            for host, port in self._servers:
                self._resolver.nameservers, self._resolver.port = [host], port
            await self._resolver.resolve(self._domain, "SOA", lifetime=_LIFETIME)
        except (dns.asyncresolver.NXDOMAIN, dns.asyncresolver.NoAnswer):
            pass  # it has answered
        except (dns.exception.DNSException, OSError) as error:
            raise ClusterUnreachable(f"no name server answers: {error}") from error
        return float("inf")

    async def end(self) -> None:
        await self._feeds.close()

    def watch(self, place: str, told: Told) -> Callable[[], None]:
        return self._feeds.watch(place, told)

    async def _feed(self, place: str, told: Told) -> None:
        name = place.partition("/")[2]
        known: dict[bytes, tuple[int, int]] | None = None
        while True:
            targets, seconds = await self._look_up(name)
            if targets is not None:
                before = known or {}
                known = {
                    value: before.get(value) or (priority, next(self._numbers))
                    for value, priority in targets.items()
                }
                told([_record(value, *about) for value, about in known.items()])
            await asyncio.sleep(min(max(seconds, _LEAST), _MOST))

    async def _look_up(self, name: str) -> tuple[dict[bytes, int] | None, float]:
        """The records of a name with their priorities, and how long that holds; None if no server
        answers.
        """
        dns = self._dns
        try:
            label = dns.name.Name([b"_" + name.encode(), b"_tcp"])
            answer = await self._resolver.resolve(
                label + self._domain, "SRV", lifetime=_LIFETIME, raise_on_no_answer=False
            )
        except (dns.asyncresolver.NXDOMAIN, dns.name.LabelTooLong, dns.name.NameTooLong):
            return {}, _LEAST
        except (dns.exception.DNSException, OSError):
            return None, _LEAST
        found = {}
        by_rank = sorted(answer.rrset or (), key=lambda each: (each.priority, -each.weight))
        for each in by_rank[:_MOST_TARGETS]:
            host = each.target.to_text(omit_final_dot=True)
            try:
                pid = PID(host, each.port, name)
            except ValueError:  # "." means that the service is not there
                continue
            metadata = {"priority": each.priority, "weight": each.weight}
            found[written(pid, metadata)] = each.priority
        return found, float(answer.rrset.ttl if answer.rrset else 0)


def _record(value: bytes, priority: int, number: int) -> Record:
    return Record(str(number), (priority << 48) + number, value)


def _refuse(url: ClusterUrl, why: str) -> None:
    raise ValueError(f"{url.text!r} is no URL of a cluster: {why}")
