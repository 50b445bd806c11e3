"""What the hub does because time passed: visits end, grants expire, old rows go. Driven by the writer alone."""

from hub.core import visits
from hub.core.foreign_records import ForeignTrack
from hub.core.model import Edge, Grant, Quarantine, Visit
from hub.core.states import OPEN_GRANT, GrantState, VisitState
from hub.ports import Tx
from hub.usecases.arrivals import MANY, Effects, Rules

SWEEP_ROWS = 1_000
"""Most rows of a kind handled in one sweep: bounds the time writers wait; what is left is due in the next."""


def sweep(tx: Tx, rules: Rules, at_ms: int) -> Effects:
    """Everything whose deadline has passed at `at_ms`."""
    effects = Effects()
    _visits(tx, rules, at_ms, effects)
    _grants(tx, at_ms, effects)
    return effects


def anything_due(tx: Tx, at_ms: int) -> bool:
    """Whether `sweep`, or that of foreign edges, would find work."""
    deadlines = ((Visit, "deadline_ms"), (Grant, "due_at_ms"), (ForeignTrack, "due_ms"))
    earliest = [tx.earliest(kind, column) for kind, column in deadlines]
    return any(due_ms is not None and due_ms <= at_ms for due_ms in earliest)


def _visits(tx: Tx, rules: Rules, at_ms: int, effects: Effects) -> None:
    due: list[Visit] = tx.due(Visit, "deadline_ms", at_ms, SWEEP_ROWS)
    if not due:
        return
    edges = tx.find(Edge, {"tenant": rules.tenant, "store": sorted({visit.store for visit in due})}, limit=MANY)
    zone_of = {edge.edge: edge.zone for edge in edges}
    drafts = [visits.load(visit, zone_of) for visit in due]
    for draft in drafts:
        visits.expire(draft, at_ms)
        if draft.state == VisitState.CLOSED:
            effects.notes.append({"type": "visit", "visit": draft.visit, "store": draft.store, "state": "closed"})
    tx.put([visits.freeze(draft) for draft in drafts])
    tx.put([stay for draft in drafts for stay in draft.stays])


def _grants(tx: Tx, at_ms: int, effects: Effects) -> None:
    for grant in tx.due(Grant, "due_at_ms", at_ms, SWEEP_ROWS):
        change = {"state": GrantState.EXPIRED, "due_at_ms": None}
        if tx.swap(Grant, (grant.tenant, grant.grant), {"state": OPEN_GRANT, "due_at_ms": grant.due_at_ms}, change):
            effects.notes.append(
                {"type": "grant", "grant": grant.grant, "store": grant.store, "state": GrantState.EXPIRED.value}
            )


def clean(tx: Tx, rules: Rules, at_ms: int) -> dict[str, int]:
    """Apply retention, and the size cap of the quarantine; rows removed per table."""
    removed = tx.expire(rules.tenant, at_ms, SWEEP_ROWS)
    excess = tx.count(Quarantine, {"tenant": rules.tenant}) - rules.quarantine_max
    if excess > 0:
        oldest = tx.due(Quarantine, "at_ms", at_ms, min(excess, SWEEP_ROWS))
        tx.delete(Quarantine, [(row.tenant, row.quarantine) for row in oldest])
        removed["quarantine_over_cap"] = len(oldest)
    return removed
