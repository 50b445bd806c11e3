"""An edge says that it is there, or its last will says that it is not."""

from dataclasses import replace

from hub.core import visits
from hub.core.model import Edge, Visit
from hub.core.states import OPEN_VISIT
from hub.ports import Tx
from hub.usecases.arrivals import MANY, Effects, Rules
from wire.messages import Status


def record_status(tx: Tx, store: str, edge: str, status: Status, rules: Rules, at_ms: int) -> Effects | None:
    """Keep the edge's state; whom it alone vouched for becomes `unknown` when it dies or starts anew, never gone.

    None when the edge is not enrolled in that store.
    """
    effects = Effects()
    found = tx.get(Edge, [(rules.tenant, edge)])
    if not found or found[0].store != store or status.edge != edge or found[0].source_kind is not None:
        return None
    row = found[0]
    if (row.status, row.status_boot) == (status.state, status.boot):
        return effects
    tx.put([replace(row, status=status.state, status_boot=status.boot, status_at_ms=at_ms)])
    effects.notes.append({"type": "edge", "edge": edge, "store": store, "state": status.state})
    if status.state == "offline" or row.status_boot not in ("", status.boot):
        lose_edge(tx, store, edge, rules, at_ms)
    return effects


def lose_edge(tx: Tx, store: str, edge: str, rules: Rules, at_ms: int) -> None:
    """Nobody hears for this edge any more: whom it alone vouched for becomes `unknown`."""
    open_here = tx.find(Visit, {"tenant": rules.tenant, "store": store, "state": OPEN_VISIT}, limit=MANY)
    changed = []
    for visit in open_here:
        draft = visits.load(visit, {})
        if visits.lose_edge(draft, edge, at_ms, rules.grace_ms):
            changed.append(visits.freeze(draft))
    tx.put(changed)
