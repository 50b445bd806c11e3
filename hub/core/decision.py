"""Which single offer, if any? One trace in a fixed order; each candidate keeps the first reason it failed for.

    consent → validity → eligibility → holdout → caps and cool-downs → address → rank → arbitrate

Eligibility clauses and holdouts come with offers in full; their places in the order are kept. The policy is
deterministic today, so the propensity of what it does is 1: logged all the same, because what was not logged can
never be evaluated.
"""

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from hub.core.model import Device, Grant, Offer, Shop
from hub.core.offers import OfferBody, open_at
from hub.core.states import GrantState, Purpose

POLICY = "priority-1"
"""Name of the policy in the decision log: highest priority, ties by a stable hash of person and offer."""

PROPENSITY = 1.0
"""Probability with which POLICY chooses what it chooses; it is deterministic."""

PUSHES_PER_VISIT = 1
"""More than one push at a location made people stop using the app (−313 %: inMarket 2014)."""

NEEDED = (Purpose.PRESENCE_DETECTION, Purpose.PERSONALISED_OFFERS, Purpose.MARKETING_PUSH)
"""What must be in force for an offer to be pushed; checked in this order, in the deciding transaction."""

GONE_GRANT = (GrantState.REVOKED, GrantState.DECLINED)


class Moment(NamedTuple):
    """What happened to one visit, as offers' triggers see it.

    `entered_kinds`: zone kinds entered with this event, None for the store itself; `stays`: (zone kind, ms spent
    there so far), again None for the store.
    """

    store: str
    at_ms: int
    entered_kinds: tuple[str | None, ...]
    stays: tuple[tuple[str | None, int], ...]


@dataclass(frozen=True, slots=True)
class Person:
    """What a decision knows of the person: purposes in force, devices, recent grants, pushes so far."""

    profile: str
    purposes: Collection[str]
    devices: Sequence[Device]
    grants: Sequence[Grant]
    pushes_this_visit: int


class Candidate(NamedTuple):
    """One offer considered: `reason` None = chosen; score is comparable within one decision only."""

    offer: Offer
    body: OfferBody
    reason: str | None
    score: float


def triggered(offers: Sequence[tuple[Offer, OfferBody]], moment: Moment, fired: Collection[str]) -> list[int]:
    """Positions in `offers` of those whose trigger this moment satisfies for the first time in the visit."""
    found = []
    for position, (offer, body) in enumerate(offers):
        trigger = body.trigger
        if trigger.on == "enter":
            met = trigger.zone_kind in moment.entered_kinds
        else:
            long_ms = trigger.dwell_s * 1000
            met = any(ms >= long_ms and kind == trigger.zone_kind for kind, ms in moment.stays)
        if met and offer.offer not in fired and (not trigger.stores or moment.store in trigger.stores):
            found.append(position)
    return found


def decide(
    candidates: Sequence[tuple[Offer, OfferBody]], person: Person, shop: Shop, shops: Collection[str], now_ms: int
) -> list[Candidate]:
    """Judge every candidate at `now_ms`; at most one comes back with reason None, first in the list.

    `shop` is where it happened; `shops` are the stores that exist.
    """
    judged = [
        Candidate(offer, body, _first_failure(offer, body, person, shop, shops, now_ms), _score(offer, body, person))
        for offer, body in candidates
    ]
    judged.sort(key=lambda one: (one.reason is not None, -one.score))
    return [
        one._replace(reason="rank") if place > 0 and one.reason is None else one for place, one in enumerate(judged)
    ]


def address(devices: Sequence[Device]) -> Device:
    """The one device a push goes to: the newest that the person's system lets us reach. Needs at least one."""
    return max((one for one in devices if one.os_permission), key=lambda one: (one.created_at_ms, one.device))


def _first_failure(
    offer: Offer, body: OfferBody, person: Person, shop: Shop, shops: Collection[str], now_ms: int
) -> str | None:
    for purpose in NEEDED:
        if purpose not in person.purposes:
            return f"consent:{purpose}"
    if not open_at(body.schedule, shop.tz, now_ms):
        return "validity:schedule"
    if body.redeem_store is not None and body.redeem_store not in shops:
        return "validity:redeem_store"
    if person.pushes_this_visit >= PUSHES_PER_VISIT:
        return "cap:visit"
    mine = [grant for grant in person.grants if grant.offer == offer.offer and grant.state not in GONE_GRANT]
    if any(now_ms - grant.issued_at_ms < body.cooldown_s * 1000 for grant in mine):
        return "cooldown"
    if any(grant.expires_at_ms > now_ms and grant.state != GrantState.REDEEMED for grant in mine):
        return "cap:open_grant"
    if not person.devices:
        return "address:none"
    if not any(device.os_permission for device in person.devices):
        return "address:os_permission"
    return None


def _score(offer: Offer, body: OfferBody, person: Person) -> float:
    seed = f"{person.profile}/{offer.offer}/{offer.version}".encode()
    tie = int.from_bytes(hashlib.sha256(seed).digest()[:4], "big") / 2**32
    return round(body.priority + tie, 6)
