"""How things stand, in numbers: for the live table and for whoever watches the fleet. No identity in any of it."""

from collections import Counter, defaultdict
from typing import Any

from hub.core.foreign_records import ForeignAccount
from hub.core.model import Decision, Edge, EdgeBoot, Grant, Push, Quarantine, Redemption, Visit
from hub.core.states import OPEN_VISIT, WHOLE_VISIT, GrantState, PushState, VisitState
from hub.ports import Tx
from hub.usecases.arrivals import MANY

ACCOUNTS = (
    "upto",
    "committed",
    "consent_refused",
    "identity_refused",
    "quarantined",
    "lost",
    "duplicates",
    "unknown_fields",
)
"""Fields of a boot that add up over boots."""

FOREIGN_ACCOUNTS = {
    "upto": "received",
    "committed": "committed",
    "consent_refused": "consent_refused",
    "identity_refused": "identity_refused",
    "lost": "lost",
}
"""The same fields from the account of a foreign edge. It gives out no sequences: `upto` counts what was received."""


def report(tx: Tx, tenant: str) -> dict[str, Any]:
    """Counts per table and state, people per zone, and each edge's accounts summed over its boots."""
    mine = {"tenant": tenant}
    open_visits = tx.find(Visit, {**mine, "state": OPEN_VISIT}, limit=MANY)
    zones: dict[str, Counter[str]] = defaultdict(Counter)
    for visit in open_visits:
        if visit.state == VisitState.PRESENT:
            zones[visit.store][visit.zone or ""] += 1
    sums: dict[str, Counter[str]] = defaultdict(Counter)
    total: Counter[str] = Counter()
    for boot in tx.find(EdgeBoot, mine, limit=MANY):
        for name in ACCOUNTS:
            sums[boot.edge][name] += getattr(boot, name)
            total[name] += getattr(boot, name)
    for account in tx.find(ForeignAccount, mine, limit=MANY):
        for name, column in FOREIGN_ACCOUNTS.items():
            sums[account.edge][name] += getattr(account, column)
            total[name] += getattr(account, column)
    return {
        "visits": tx.count(Visit, {**mine, "state": WHOLE_VISIT}),
        "present": sum(sum(counts.values()) for counts in zones.values()),
        "zones": {store: dict(counts) for store, counts in zones.items()},
        "decisions": tx.count(Decision, mine),
        "grants": {state.value: tx.count(Grant, {**mine, "state": state.value}) for state in GrantState},
        "pushes": {state.value: tx.count(Push, {**mine, "state": state.value}) for state in PushState},
        "redemptions": tx.count(Redemption, mine),
        "quarantine": tx.count(Quarantine, mine),
        "accounts": {name: total[name] for name in ACCOUNTS},
        "edges": [
            {
                "edge": edge.edge,
                "store": edge.store,
                "zone": edge.zone,
                "source": edge.source_kind,
                "status": edge.status,
                "status_at_ms": edge.status_at_ms,
                **{name: sums[edge.edge][name] for name in ACCOUNTS},
            }
            for edge in tx.find(Edge, mine, limit=MANY)
        ],
    }
