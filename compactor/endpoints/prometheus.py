"""``/metrics``: all metrics for Prometheus, in its text format or as OpenMetrics."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from typing import Any

from compactor.endpoints.endpoint import READONLY, Endpoint
from compactor.http.request import Request
from compactor.http.response import Response
from compactor.metrics.catalog import CATALOG, Described
from compactor.metrics.histogram import BOUNDS, Histogram
from compactor.metrics.readings import Reading

_SECONDS = 5.0  # for gauges; Prometheus gives up after ten
_MISSING = (
    "There is no prometheus-client here, which writes this; install compactor[metrics]. "
    "/metrics/snapshot has the same as JSON.\n"
)
_DECADES = range(-6, 2)
_LIMITS = [
    min(BOUNDS, key=lambda bound: abs(bound - limit))
    for decade in _DECADES
    for limit in (10.0**decade, 2.5 * 10.0**decade, 5 * 10.0**decade)
]
"""Seconds that buckets end at: of the many that there are, few enough to be kept for years."""


async def _metrics(request: Request, owner: Any) -> Response:
    try:
        from prometheus_client.exposition import choose_encoder
    except ImportError:
        return Response.error(501, _MISSING)
    encode, content_type = choose_encoder(request.headers.get("accept") or "")
    pieces: list[bytes] = []
    readings = await owner.metrics.take_all(_SECONDS)
    async with owner.metrics.turns:
        for family in families(readings):
            pieces.append(encode(_One(family)).removesuffix(b"# EOF\n"))
            await asyncio.sleep(0)
    if "openmetrics" in content_type:
        pieces.append(b"# EOF\n")
    return Response(b"".join(pieces), 200, content_type)


class _One:
    """A registry of one family: so each can have its time."""

    def __init__(self, family: Any) -> None:
        self._family = family

    def collect(self) -> Iterable[Any]:
        """What there is."""
        return [self._family]


class Collector:
    """The metrics of one context for a registry of prometheus-client.

    Args:
        metrics: those of a context, as ``context.metrics``.
    """

    def __init__(self, metrics: Any) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Any]:
        """All that can be read without waiting."""
        *_, found = self._metrics.take()
        return families(found or ())


def families(readings: Iterable[Reading]) -> Iterator[Any]:
    """Readings as the families of prometheus-client: those of one name stand together."""
    by_metric: dict[tuple[str, bool, str], list[Reading]] = {}
    for reading in readings:
        key = reading.name, reading.process is not None, reading.kind
        by_metric.setdefault(key, []).append(reading)
    known = {(each.name, each.is_of_process, ""): each for each in CATALOG}
    taken: set[str] = set()
    for key, found in by_metric.items():
        each = known.get(key) or _of_user(key[0], key[2])
        if (each.name, each.is_of_process, "") in known and _is_sum(each, known):
            continue
        family = _family(each, found, is_user=key not in known)
        if family.name not in taken:  # processes may disagree about what a name is
            taken.add(family.name)
            yield family


def _is_sum(each: Described, known: Any) -> bool:
    """Whether a metric is the sum of another one by some label, as Prometheus can sum up itself."""
    return any(
        other.label and other.name.partition("/<")[0] == each.name and not each.label
        for other in known.values()
        if other.is_of_process == each.is_of_process and other.label != "destination"
    )


def _of_user(name: str, kind: str) -> Described:
    meaning = f"{name} of processes, as the program counts it"
    return Described(name, "histogram" if kind == "timer" else kind, "", meaning, True)  # type: ignore[arg-type]


def _family(each: Described, found: list[Reading], is_user: bool) -> Any:
    from prometheus_client.core import (
        CounterMetricFamily,
        GaugeMetricFamily,
        HistogramMetricFamily,
    )

    name = name_of(each, is_user)
    labels = [label for label in ("process" if each.is_of_process else "", each.label) if label]
    help_ = f"{each.unit} {each.meaning}".strip() if each.kind != "histogram" else each.meaning
    kinds: dict[str, Any] = {"counter": CounterMetricFamily, "gauge": GaugeMetricFamily}
    family = kinds.get(each.kind, HistogramMetricFamily)(name, help_, labels=labels)
    for reading in found:
        given = [_text(v) for v in (reading.process, reading.label if each.label else None) if v]
        if isinstance(reading.value, Histogram):
            family.add_metric(given, *_buckets(reading.value))
        else:
            family.add_metric(given, reading.value)
    return family


def name_of(each: Described, is_user: bool = False) -> str:
    """The name of a metric for Prometheus, without what it adds itself."""
    name = each.name.partition("/<")[0].replace("/", "_")
    if each.kind == "histogram":
        name = f"{name.removesuffix('_ms')}_seconds"
    if is_user:
        return f"compactor_user_{name}"
    return f"compactor_process_{name}" if each.is_of_process else f"compactor_{name}"


def _text(value: str) -> str:
    """A label, which others may have chosen, as UTF-8 takes it."""
    return value.encode("utf-8", "replace").decode()


def _buckets(times: Histogram) -> tuple[list[tuple[str, float]], float]:
    below = times.below(_LIMITS)
    pairs = [(f"{limit:.7g}", number) for limit, number in zip(_LIMITS, below, strict=True)]
    return [*pairs, ("+Inf", max(times.count, below[-1]))], times.sum


ENDPOINTS = (
    Endpoint(
        "/metrics",
        _metrics,
        "Provides the current metrics for Prometheus.",
        """The same as `/metrics/snapshot`, in the text format of Prometheus, or as OpenMetrics if
the `Accept` of the request asks for it.
""",
        realm=READONLY,
    ),
)
