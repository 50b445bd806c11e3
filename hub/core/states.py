"""Words that records hold: purposes of consent, kinds of zones, states of visits, grants and pushes."""

from enum import StrEnum


class Purpose(StrEnum):
    """What a person can agree to, each apart."""

    PRESENCE_DETECTION = "presence_detection"
    PROFILE_HISTORY = "profile_history"
    PERSONALISED_OFFERS = "personalised_offers"
    MARKETING_PUSH = "marketing_push"
    ANALYTICS = "analytics"
    MODEL_TRAINING = "model_training"
    SHARE_WITH_PARTNER = "share_with_partner"


class ZoneKind(StrEnum):
    """What a zone is for; triggers and the arrival lock name kinds, never single zones."""

    APPROACH = "approach"  # outside, before the door
    DOOR = "door"
    FLOOR = "floor"
    TILL = "till"


class VisitState(StrEnum):
    """present → grace → closed; unknown whenever no edge can say; merged: part of another, which covers it."""

    PRESENT = "present"
    GRACE = "grace"
    UNKNOWN = "unknown"
    CLOSED = "closed"
    MERGED = "merged"


class GrantState(StrEnum):
    """issued → delivered → viewed → locked → redeemed → reversed; expired, revoked and declined on the side."""

    ISSUED = "issued"
    DELIVERED = "delivered"
    VIEWED = "viewed"
    LOCKED = "locked"
    REDEEMED = "redeemed"
    REVERSED = "reversed"
    EXPIRED = "expired"
    REVOKED = "revoked"
    DECLINED = "declined"


class PushState(StrEnum):
    """queued → leased → sent; or failed, expired, suppressed."""

    QUEUED = "queued"
    LEASED = "leased"
    SENT = "sent"
    FAILED = "failed"
    EXPIRED = "expired"
    SUPPRESSED = "suppressed"


OPEN_VISIT = (VisitState.PRESENT, VisitState.GRACE, VisitState.UNKNOWN)
WHOLE_VISIT = (*OPEN_VISIT, VisitState.CLOSED)
"""Every visit once: parts of others left out."""
OPEN_GRANT = (GrantState.ISSUED, GrantState.DELIVERED, GrantState.VIEWED, GrantState.LOCKED)
WAITING_PUSH = (PushState.QUEUED, PushState.LEASED)
