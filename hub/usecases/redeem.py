"""A till redeems a grant, or takes a redemption back. One winner, whatever the race: compare-and-set on the grant."""

from typing import NamedTuple

from hub.core.grants import Denied, Terms, terms
from hub.core.model import Grant, Redemption
from hub.core.states import OPEN_GRANT, GrantState
from hub.ports import NewId, Tx


class RedeemRequest(NamedTuple):
    """What the till sends: `code_hash` of the scanned code, its own place, the basket in minor units."""

    tenant: str
    code_hash: str
    store: str
    pos: str
    basket_minor: int
    currency: str


def redeem(tx: Tx, request: RedeemRequest, at_ms: int, new_id: NewId) -> Redemption | Denied:
    """Redeem at `at_ms`, the hub's clock. The value is the curve's at t_lock: the arrival, else this instant."""
    found = tx.find(Grant, {"tenant": request.tenant, "code_hash": request.code_hash}, limit=1)
    if not found:
        return Denied("unknown_code", "No such code. Scan again, or let the customer reload the offer.")
    grant = found[0]
    answer = terms(grant, request.store, request.basket_minor, request.currency, at_ms)
    if isinstance(answer, Denied):
        return answer
    if not _take(tx, grant, answer):
        return Denied("already_redeemed", "This code has been used already.")
    redemption = Redemption(
        tenant=request.tenant,
        redemption=new_id(),
        grant=grant.grant,
        profile=grant.profile,
        store=request.store,
        pos=request.pos,
        state="done",
        basket_minor=request.basket_minor,
        currency=request.currency,
        value_bp=answer.value_bp,
        discount_minor=answer.discount_minor,
        t_lock_ms=answer.t_lock_ms,
        at_ms=at_ms,
        reversed_at_ms=None,
    )
    tx.insert([redemption])
    return redemption


def _take(tx: Tx, grant: Grant, answer: Terms) -> bool:
    # lock_at_ms is part of what must not have changed: a lock that came in between would change the value
    return tx.swap(
        Grant,
        (grant.tenant, grant.grant),
        {"state": [*OPEN_GRANT, GrantState.EXPIRED], "lock_at_ms": grant.lock_at_ms},
        {
            "state": GrantState.REDEEMED,
            "lock_at_ms": answer.t_lock_ms,
            "lock_bp": answer.value_bp,
            "due_at_ms": None,
        },
    )


def reverse(tx: Tx, tenant: str, redemption: str, at_ms: int) -> Redemption | Denied:
    """Take a redemption back (void, return). The grant stays used: its value was for that purchase."""
    if tx.swap(Redemption, (tenant, redemption), {"state": "done"}, {"state": "reversed", "reversed_at_ms": at_ms}):
        (row,) = tx.get(Redemption, [(tenant, redemption)])
        tx.swap(Grant, (tenant, row.grant), {"state": GrantState.REDEEMED}, {"state": GrantState.REVERSED})
        return row
    found = tx.get(Redemption, [(tenant, redemption)])
    if not found:
        return Denied("unknown_redemption", "No redemption with this id.")
    return Denied("already_reversed", "This redemption has been taken back already.")
