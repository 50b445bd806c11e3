"""Permission: an append-only ledger, and its projection that gates intake, decisions and sends.

A withdrawal takes effect with this transaction. What was promised and shown stays redeemable: withdrawing must cost a
person nothing. What was not yet sent is not sent, and its offer is revoked.
"""

from typing import Any, NamedTuple

from hub.core import visits
from hub.core.decision import NEEDED
from hub.core.foreign_records import ForeignTrack
from hub.core.model import Consent, ConsentEvent, Grant, Push, Visit
from hub.core.states import OPEN_VISIT, WAITING_PUSH, GrantState, Purpose, PushState
from hub.ports import NewId, Tx
from hub.usecases.arrivals import MANY


class ConsentChange(NamedTuple):
    """What a person chose, in answer to which text, and how. `purposes`: purpose → yes or no; others stay."""

    tenant: str
    profile: str
    purposes: dict[str, bool]
    notice: str
    notice_sha256: str
    method: str
    actor: str


def consents_of(tx: Tx, tenant: str, profile: str) -> dict[str, bool]:
    """Every purpose, yes or no; never asked is no."""
    rows = tx.get(Consent, [(tenant, profile, purpose.value) for purpose in Purpose])
    given = {row.purpose: row.given for row in rows}
    return {purpose.value: given.get(purpose.value, False) for purpose in Purpose}


def record_consents(tx: Tx, change: ConsentChange, at_ms: int, new_id: NewId) -> dict[str, bool]:
    """Write the ledger and its projection, and act on what was withdrawn; the state afterwards, every purpose."""
    tenant, profile = change.tenant, change.profile
    before = {row.purpose: row for row in tx.get(Consent, [(tenant, profile, one) for one in change.purposes])}
    events, states = [], []
    withdrawn = set()
    for purpose, given in change.purposes.items():
        old = before.get(purpose)
        had = old is not None and old.given
        if had and not given:
            withdrawn.add(purpose)
        action = "given" if given else "withdrawn" if had else "denied"
        event = ConsentEvent(
            tenant, new_id(), profile, purpose, action,
            change.notice, change.notice_sha256, change.method, change.actor, at_ms,
        )  # fmt: skip
        events.append(event)
        # said again, it is in force since it was first said
        since_ms = old.at_ms if old is not None and had and given else at_ms
        states.append(Consent(tenant, profile, purpose, given, event.event, since_ms))
    tx.insert(events)
    tx.put(states)
    if withdrawn & set(NEEDED):
        _hold_back(tx, tenant, profile, at_ms)
    if Purpose.PRESENCE_DETECTION in withdrawn:
        _end_visits(tx, tenant, profile)
    return consents_of(tx, tenant, profile)


def end_consents(tx: Tx, tenant: str, profile: str, method: str, at_ms: int, new_id: NewId) -> None:
    """Write in the ledger that everything in force has ended, so that it says for how long there was permission."""
    in_force = tx.find(Consent, {"tenant": tenant, "profile": profile, "given": True}, limit=MANY)
    end = "withdrawn"
    tx.insert(
        [ConsentEvent(tenant, new_id(), profile, one.purpose, end, "", "", method, "", at_ms) for one in in_force]
    )


def _hold_back(tx: Tx, tenant: str, profile: str, at_ms: int) -> None:
    waiting = tx.find(Push, {"tenant": tenant, "profile": profile, "state": WAITING_PUSH}, limit=MANY)
    settled: dict[str, Any] = {
        "state": PushState.SUPPRESSED, "reason": "withdrawn", "due_at_ms": None, "settled_at_ms": at_ms, "body": {},
    }  # fmt: skip
    for push in waiting:
        if tx.swap(Push, (tenant, push.push), {"state": WAITING_PUSH}, settled):
            revoked = {"state": GrantState.REVOKED, "due_at_ms": None}
            tx.swap(Grant, (tenant, push.grant), {"state": GrantState.ISSUED}, revoked)


def _end_visits(tx: Tx, tenant: str, profile: str) -> None:
    found = tx.find(Visit, {"tenant": tenant, "profile": profile, "state": OPEN_VISIT}, limit=MANY)
    drafts = [visits.load(visit, {}) for visit in found]
    tracks = tx.find(ForeignTrack, {"tenant": tenant, "profile": profile}, limit=MANY)
    for draft in drafts:
        visits.close(draft)
        for track in tracks:
            visits.forget_word(draft, track.edge)
    tx.put([visits.freeze(draft) for draft in drafts])
    tx.put([stay for draft in drafts for stay in draft.stays])
    tx.delete(ForeignTrack, [(tenant, track.edge, profile) for track in tracks])
