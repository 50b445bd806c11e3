"""An edge says that it is there, or its last will says that it is not."""

from dataclasses import replace
from typing import Any, NamedTuple

from hub.core import boots, visits
from hub.core.model import Edge, EdgeBoot, Visit
from hub.core.states import OPEN_VISIT
from hub.ports import Tx
from hub.usecases.arrivals import MANY, Effects, Rules
from wire.messages import Status


class Heard(NamedTuple):
    """How a status came. `retained`: kept by the broker, so it is state and no birth: how often it comes means nothing.

    `born`: the edge's starts whose births came before it over the same connection to the broker.
    """

    retained: bool = False
    born: tuple[str, ...] = ()


LIVE = Heard()


def record_status(
    tx: Tx, store: str, edge: str, status: Status, rules: Rules, at_ms: int, heard: Heard = LIVE
) -> Effects | None:
    """Keep the edge's state; whom it alone vouched for becomes `unknown` when it dies or starts anew, never gone.

    What a start says that a newer one has ended changes nothing. None when the edge is not enrolled in that store.
    """
    effects = Effects()
    found = tx.get(Edge, [(rules.tenant, edge)])
    if not found or found[0].store != store or status.edge != edge or found[0].source_kind is not None:
        return None
    row, alarm = found[0], False
    known = bool(tx.get(EdgeBoot, [(rules.tenant, edge, status.boot)]))
    if status.state == "online" and not heard.retained:
        row, alarm = boots.born(row, status.boot, at_ms, known, heard.born)
    if alarm:
        effects.notes.append(cloned_note(row))
    before = row
    if (row.status, row.status_boot) != (status.state, status.boot) and not boots.ended(row, status.boot, known):
        row = replace(row, status=status.state, status_boot=status.boot, status_at_ms=at_ms)
        effects.notes.append({"type": "edge", "edge": edge, "store": store, "state": status.state})
        if status.state == "offline" or before.status_boot not in ("", status.boot):
            lose_edge(tx, store, edge, rules, at_ms)
    if row is not found[0]:
        tx.put([row])
    return effects


def cloned_note(edge: Edge) -> dict[str, Any]:
    """The alarm for the live stream: two devices use one id."""
    return {"type": "alarm", "edge": edge.edge, "store": edge.store, "reason": "cloned"}


def lose_edge(tx: Tx, store: str, edge: str, rules: Rules, at_ms: int) -> None:
    """Nobody hears for this edge any more: whom it alone vouched for becomes `unknown`."""
    open_here = tx.find(Visit, {"tenant": rules.tenant, "store": store, "state": OPEN_VISIT}, limit=MANY)
    changed = []
    for visit in open_here:
        draft = visits.load(visit, {})
        if visits.lose_edge(draft, edge, at_ms, rules.grace_ms):
            changed.append(visits.freeze(draft))
    tx.put(changed)
