"""The verdict on a demonstration: counts, latencies, and what must hold. Pure."""

import math
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

TELEMETRY = ("adverts_heard", "adverts_dropped_private", "events_published", "events_lost")
"""Counters that edges report themselves, summed."""


def quantile(values: Sequence[float], q: float) -> float | None:
    """The nearest-rank quantile, `q` in (0, 1]; None of nothing."""
    if not values:
        return None
    return sorted(values)[max(0, math.ceil(q * len(values)) - 1)]


class Sent(NamedTuple):
    """When an advertisement was put on the air: in the time of the demonstration, and in real time."""

    at_ms: int
    steady_ns: int


def latencies_ms(sent: Sequence[Sent], offers: Iterable[tuple[int, int]]) -> list[int]:
    """From the last advertisement on the air before each decision to the push on the phone, real ms.

    `offers`: (issued_at_ms, steady_ns of the push's arrival) of one person; `sent` in order of time.
    """
    found = []
    for issued_at_ms, steady_ns in offers:
        place = bisect_right(sent, issued_at_ms, key=lambda one: one.at_ms)
        if place:
            found.append((steady_ns - sent[place - 1].steady_ns) // 1_000_000)
    return found


def build(
    telemetry: Mapping[str, Mapping[str, int]],
    hub: Mapping[str, Any],
    latency_ms: Sequence[int],
    audit: Mapping[str, Any],
    more: Mapping[str, Any],
) -> dict[str, Any]:
    """The JSON report. `telemetry`: edge → last counters; `hub`: `/v1/reports`; `audit`: `hub audit --json`."""
    sums = {name: sum(counters.get(name, 0) for counters in telemetry.values()) for name in TELEMETRY}
    accounts, grants = hub["accounts"], hub["grants"]
    return {
        "adverts_heard": sums["adverts_heard"],
        "adverts_dropped_private": sums["adverts_dropped_private"],
        "events_published": sums["events_published"],
        "events_committed": accounts["committed"],
        "events_lost": accounts["lost"],
        "consent_refused": accounts["consent_refused"],
        "identity_refused": accounts["identity_refused"],
        "quarantined": accounts["quarantined"],
        "duplicates_ignored": accounts["duplicates"],
        "visits": hub["visits"],
        "offers_issued": sum(grants.values()),
        "grants_expired": grants["expired"],
        "pushes_delivered": more["pushes_delivered"],
        "redemptions": hub["redemptions"],
        "invariant_violations": audit["invariant_violations"],
        "latency_ms": {
            "advert_to_push": {
                "p50": quantile(latency_ms, 0.5),
                "p95": quantile(latency_ms, 0.95),
                "p99": quantile(latency_ms, 0.99),
            }
        },
        **{name: value for name, value in more.items() if name != "pushes_delivered"},
        "violations": audit["violations"],
    }


def failures(report: Mapping[str, Any], expects_expiry: bool) -> list[str]:
    """Why the demonstration failed; empty when it did not."""
    needed = ["visits", "pushes_delivered", "redemptions", "adverts_dropped_private", "consent_refused"]
    if expects_expiry:
        needed.append("grants_expired")
    found = [f"{name} is 0" for name in needed if not report[name] > 0]
    refused = report["consent_refused"] + report["identity_refused"] + report["quarantined"]
    accounted = report["events_committed"] + report["events_lost"] + refused
    if accounted != report["events_published"]:
        found.append(f"{report['events_published']} events were published, {accounted} are accounted for")
    if report.get("reports_sent", report["events_published"]) < report["events_published"]:
        found.append(f"{report['reports_sent']} reports were sent, the hub counts {report['events_published']}")
    if report["invariant_violations"]:
        found.append(f"{report['invariant_violations']} promises were broken")
    if report.get("identities_in_logs"):
        found.append(f"{report['identities_in_logs']} identities stand in logs")
    return found
