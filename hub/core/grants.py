"""A promise to one person: issue, value, arrival lock, redemption. Money rounds in the shopper's favour."""

import base64
import hashlib
import hmac
from dataclasses import replace
from typing import NamedTuple

from hub.core.model import Grant, Offer
from hub.core.offers import OfferBody
from hub.core.states import OPEN_GRANT, GrantState
from wire.curve import MAX_LIFE_MS, end_ms, fix_walk, read_curve, value_bp

LONGEST_LIFE_MS = 3 * MAX_LIFE_MS
"""Longest time from issue to the deadline, ms: grace, life and tail of a curve at most, 90 days."""

KEPT_MS = 120 * 86_400_000
"""How long a grant is kept from its issue, ms: for complaints at the till. Above LONGEST_LIFE_MS plus the longest
lock (a day), or an open promise would be thrown away."""

MAX_LOCK_ERROR_MS = 5_000
"""Most that an edge's clock error may move t_lock back, ms: beyond it a bad clock would decide about money."""

LOCK_HOLD_S = 1_200
"""An arrival lock holds 20 minutes: queue and fitting room. Per deployment in `hub.config`."""

CODE_BYTES = 15
"""120 bits: not guessable (≥ 80 needed), and exactly 24 characters of base 32 without padding."""


class Denied(NamedTuple):
    """A redemption refused: `reason` is a fixed word, `detail` a sentence for the cashier."""

    reason: str
    detail: str


class Terms(NamedTuple):
    """What a grant is worth at the till now."""

    value_bp: int
    discount_minor: int
    t_lock_ms: int


def grant_code(hmac_key: bytes, grant: str) -> str:
    """The code the till scans: derived, so that the store never holds it; unguessable without the key."""
    digest = hmac.digest(hmac_key, b"grant-code\0" + grant.encode(), hashlib.sha256)
    return base64.b32encode(digest[:CODE_BYTES]).decode().lower()


def code_hash(code: str) -> str:
    """What the store keeps of a code. No salt needed: 120 random bits cannot be enumerated."""
    return hashlib.sha256(code.strip().lower().encode()).hexdigest()


class Place(NamedTuple):
    """Whose grant, redeemable where, and what it came from."""

    tenant: str
    grant: str
    profile: str
    store: str
    visit: str
    decision: str


def issue(offer: Offer, body: OfferBody, place: Place, code_sha256: str, issued_at_ms: int) -> Grant:
    """A new grant with the offer's terms copied into it: a later version of the offer changes no promise."""
    curve = fix_walk(body.curve, body.distance_m)
    expires_at_ms = issued_at_ms + end_ms(curve)
    return Grant(
        **place._asdict(),
        offer=offer.offer,
        offer_version=offer.version,
        state=GrantState.ISSUED,
        curve=curve.model_dump(mode="json"),
        currency=body.currency,
        min_basket_minor=body.min_basket_minor,
        max_discount_minor=body.max_discount_minor,
        issued_at_ms=issued_at_ms,
        expires_at_ms=expires_at_ms,
        lock_at_ms=None,
        lock_bp=None,
        hold_until_ms=None,
        due_at_ms=expires_at_ms + 1,
        code_hash=code_sha256,
    )


def value_at(grant: Grant, at_ms: int) -> int:
    """The grant's curve at an instant, basis points; says nothing about whether it may still be redeemed."""
    return value_bp(read_curve(grant.curve), at_ms - grant.issued_at_ms)


def lock_instant(issued_at_ms: int, at_ms: int, at_error_ms: int, received_at_ms: int) -> int:
    """t_lock of an arrival: the edge's time less its possible error, never before the issue, never in the future."""
    return max(issued_at_ms, min(at_ms - min(at_error_ms, MAX_LOCK_ERROR_MS), received_at_ms))


def lock(grant: Grant, at_ms: int, at_error_ms: int, received_at_ms: int, hold_ms: int) -> Grant | None:
    """The grant locked by an arrival; None when there is nothing to lock.

    Not open, locked already, or the arrival came after the deadline: an arrival cannot revive an offer.
    """
    if grant.state not in OPEN_GRANT or grant.lock_at_ms is not None:
        return None
    t_lock_ms = lock_instant(grant.issued_at_ms, at_ms, at_error_ms, received_at_ms)
    if t_lock_ms > grant.expires_at_ms:
        return None
    hold_until_ms = t_lock_ms + hold_ms
    return replace(
        grant,
        state=GrantState.LOCKED,
        lock_at_ms=t_lock_ms,
        lock_bp=value_at(grant, t_lock_ms),
        hold_until_ms=hold_until_ms,
        due_at_ms=max(grant.expires_at_ms, hold_until_ms) + 1,
    )


def terms(grant: Grant, store: str, basket_minor: int, currency: str, at_ms: int) -> Terms | Denied:
    """What the till must take off for this grant now, or why nothing."""
    if grant.state in (GrantState.REDEEMED, GrantState.REVERSED):
        return Denied("already_redeemed", "This code has been used already.")
    if grant.state not in OPEN_GRANT and grant.state != GrantState.EXPIRED:
        return Denied("revoked", "This offer has been withdrawn.")
    if store != grant.store:
        return Denied("wrong_store", f"This offer can be redeemed in store {grant.store} only.")
    if currency != grant.currency:
        return Denied("wrong_currency", f"This offer is in {grant.currency}; send the basket in that currency.")
    if basket_minor < grant.min_basket_minor:
        return Denied("basket_too_small", f"The basket must come to at least {grant.min_basket_minor} minor units.")
    held = grant.hold_until_ms is not None and at_ms <= grant.hold_until_ms and grant.lock_at_ms is not None
    if not held and at_ms > grant.expires_at_ms:
        return Denied("expired", "This offer has run out.")
    t_lock_ms = grant.lock_at_ms if held and grant.lock_at_ms is not None else max(at_ms, grant.issued_at_ms)
    bp = value_at(grant, t_lock_ms)
    discount_minor = min(-(-basket_minor * bp // 10_000), grant.max_discount_minor, basket_minor)
    return Terms(bp, discount_minor, t_lock_ms)
