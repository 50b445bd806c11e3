"""Send what was decided: take pushes that are due, and record what became of them.

Both run inside the writer's transaction. Between the decision and the send a person may have withdrawn, used the offer
or let it expire: all of it is checked again in the transaction that hands the push out.
"""

from collections.abc import Sequence

from hub.core.delivery import DEFAULT, Policy, retry_at_ms, worth_sending
from hub.core.model import Consent, Device, Grant, Push
from hub.core.states import OPEN_GRANT, WAITING_PUSH, GrantState, Purpose, PushState
from hub.ports import Fate, Receipt, Tx


def take_due(tx: Tx, tenant: str, at_ms: int, limit: int, policy: Policy = DEFAULT) -> list[Push]:
    """Lease at most `limit` due pushes and return those that may be sent now.

    A push whose deadline is over, whose person no longer agrees to `marketing_push`, whose device is gone or muted, or
    whose offer is no longer open is settled on the spot with its reason, not returned.
    """
    leased = tx.take_pushes(tenant, at_ms, at_ms + policy.lease_ms, limit)
    if not leased:
        return []
    consents = {
        c.profile: c.given
        for c in tx.get(Consent, sorted({(tenant, p.profile, Purpose.MARKETING_PUSH.value) for p in leased}))
    }
    devices = {d.device: d for d in tx.get(Device, sorted({(tenant, p.device) for p in leased}))}
    grants = {g.grant: g for g in tx.get(Grant, sorted({(tenant, p.grant) for p in leased}))}
    ready = []
    for push in leased:
        verdict = _refuse(push, at_ms, consents.get(push.profile, False), devices.get(push.device), policy)
        if verdict is None and not _open(grants.get(push.grant)):
            verdict = (PushState.SUPPRESSED, "grant_closed")
        if verdict is None:
            ready.append(push)
        else:
            _close(tx, push, (PushState.LEASED,), verdict[0], verdict[1], at_ms)
    return ready


def settle(tx: Tx, push: Push, receipt: Receipt, at_ms: int, unit: float, policy: Policy = DEFAULT) -> PushState | None:
    """Record what a channel answered; `unit` is a random number in [0, 1) for the pause before the next try.

    Returns the push's new state, or None when it was settled by somebody else meanwhile (withdrawn, erased, or sent
    by the next lease holder): what they wrote stands.
    """
    match receipt.fate:
        case Fate.DELIVERED:
            # Whoever holds the lease now: the message is out, so nobody needs to send it again.
            if not _close(tx, push, WAITING_PUSH, PushState.SENT, "", at_ms):
                return None
            tx.swap(
                Grant,
                (push.tenant, push.grant),
                {"state": GrantState.ISSUED.value},
                {"state": GrantState.DELIVERED.value},
            )
            return PushState.SENT
        case Fate.ADDRESS_GONE:
            # Only if it still is that address: the app may have registered anew since.
            tx.swap(
                Device,
                (push.tenant, push.device),
                {"address": push.address, "dead_at_ms": None},
                {"dead_at_ms": at_ms},
            )
            return _finish(tx, push, PushState.FAILED, "address_gone", at_ms)
        case Fate.REFUSED:
            return _finish(tx, push, PushState.FAILED, _reason("refused", receipt.detail), at_ms)
        case Fate.TRY_LATER:
            return _postpone(tx, push, receipt, at_ms, unit, policy)


def next_due_ms(tx: Tx) -> int | None:
    """When the next push (or lease) comes due; None when nothing waits."""
    return tx.earliest(Push, "due_at_ms")


def _postpone(tx: Tx, push: Push, receipt: Receipt, at_ms: int, unit: float, policy: Policy) -> PushState | None:
    due_ms = retry_at_ms(push.attempts, at_ms, push.expires_at_ms, unit, after_ms=receipt.after_ms, policy=policy)
    if due_ms is None:
        if push.attempts >= policy.max_attempts:
            return _finish(tx, push, PushState.FAILED, _reason("attempts", receipt.detail), at_ms)
        return _finish(tx, push, PushState.EXPIRED, _reason("deadline", receipt.detail), at_ms)
    change = {"state": PushState.QUEUED.value, "reason": _reason("later", receipt.detail), "due_at_ms": due_ms}
    return PushState.QUEUED if tx.swap(Push, _key(push), _mine(push), change) else None


def _refuse(
    push: Push, at_ms: int, agreed: bool, device: Device | None, policy: Policy
) -> tuple[PushState, str] | None:
    if not worth_sending(push.expires_at_ms, at_ms, policy):
        return PushState.EXPIRED, "deadline"
    if not agreed:
        return PushState.SUPPRESSED, "no_consent"
    if device is None or device.profile != push.profile or device.dead_at_ms is not None:
        return PushState.SUPPRESSED, "device_gone"
    if not device.os_permission:
        return PushState.SUPPRESSED, "no_os_permission"
    return None


def _open(grant: Grant | None) -> bool:
    return grant is not None and grant.state in OPEN_GRANT


def _finish(tx: Tx, push: Push, state: PushState, reason: str, at_ms: int) -> PushState | None:
    """Settle as this lease holder only; None if the lease is no longer ours."""
    return state if tx.swap(Push, _key(push), _mine(push), _settled(state, reason, at_ms)) else None


def _close(tx: Tx, push: Push, states: Sequence[PushState], state: PushState, reason: str, at_ms: int) -> bool:
    expect = {"state": [s.value for s in states]}
    return tx.swap(Push, _key(push), expect, _settled(state, reason, at_ms))


def _settled(state: PushState, reason: str, at_ms: int) -> dict[str, object]:
    return {"state": state.value, "reason": reason, "due_at_ms": None, "settled_at_ms": at_ms, "body": {}}


def _key(push: Push) -> tuple[str, ...]:
    return (push.tenant, push.push)


def _mine(push: Push) -> dict[str, object]:
    return {"state": PushState.LEASED.value, "attempts": push.attempts}


def _reason(head: str, detail: str) -> str:
    return f"{head}: {detail}"[:200] if detail else head
