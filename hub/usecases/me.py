"""What a person may ask of us: their offers, everything we hold about them, and to be forgotten."""

from dataclasses import asdict, fields
from typing import Any

from hub.core import grants
from hub.core.model import RECORDS, Grant, Offer, Profile, Visit, ZoneStay
from hub.core.offers import content_for, read_body
from hub.core.states import OPEN_GRANT
from hub.ports import NewId, Tx
from hub.usecases import quarantine
from hub.usecases.arrivals import MANY, Rules
from hub.usecases.consent import end_consents

SECRET_FIELDS = frozenset({"secret_sha256", "code_hash"})
"""Left out of an export: they say nothing about the person and would help whoever steals the file."""


def wallet(tx: Tx, tenant: str, profile: str, hmac_key: bytes, at_ms: int) -> list[dict[str, Any]]:
    """Open offers of a person with their value at `at_ms` and the code that a till scans, newest first.

    With the code, because a push can be lost: a broker that dies takes along what it had acknowledged.
    """
    open_now = tx.find(Grant, {"tenant": tenant, "profile": profile, "state": OPEN_GRANT}, limit=MANY)
    people = tx.get(Profile, [(tenant, profile)])
    locale = people[0].locale if people else ""
    offers = {
        (row.offer, row.version): read_body(row.body)
        for row in tx.get(Offer, [(tenant, grant.offer, grant.offer_version) for grant in open_now])
    }
    found = []
    for grant in sorted(open_now, key=lambda one: one.issued_at_ms, reverse=True):
        text = content_for(offers[grant.offer, grant.offer_version], locale)
        locked = None
        if grant.lock_at_ms is not None:
            locked = {"value_bp": grant.lock_bp, "hold_until_ms": grant.hold_until_ms}
        held = grant.hold_until_ms is not None and at_ms <= grant.hold_until_ms
        found.append(
            {
                "grant": grant.grant,
                "offer": grant.offer,
                "title": text.title,
                "body": text.body,
                "code": grants.grant_code(hmac_key, grant.grant),
                "store": grant.store,
                "state": grant.state,
                "issued_at_ms": grant.issued_at_ms,
                "expires_at_ms": grant.expires_at_ms,
                "curve": grant.curve,
                "value_bp": grant.lock_bp if held else grants.value_at(grant, at_ms),
                "locked": locked,
            }
        )
    return found


def export(tx: Tx, tenant: str, profile: str) -> dict[str, list[dict[str, Any]]]:
    """Everything we hold about a person, by record; GDPR 15 and 20. Empty records are left out."""
    held: dict[str, list[dict[str, Any]]] = {}
    for kind in RECORDS:
        if not any(field.name == "profile" for field in fields(kind)):
            continue
        rows: list[Any] = tx.find(kind, {"tenant": tenant, "profile": profile}, limit=MANY)
        if kind is Visit and rows:
            stays = tx.find(ZoneStay, {"tenant": tenant, "visit": [row.visit for row in rows]}, limit=MANY)
            held["zone_stay"] = [_shown(stay) for stay in stays]
        if rows:
            held[_name(kind)] = [_shown(row) for row in rows]
    return held


def erase(tx: Tx, rules: Rules, profile: str, at_ms: int, new_id: NewId) -> dict[str, int]:
    """Forget a person: each table's erasure rule; rows touched per table. Pushes in flight find nothing to settle.

    The ledger of consents, which stays without a name, first says that all of them ended.
    """
    end_consents(tx, rules.tenant, profile, "erasure", at_ms, new_id)
    aside = quarantine.forget(tx, rules.tenant, rules.hmac_key, profile)
    return tx.erase(rules.tenant, profile) | ({"quarantine": aside} if aside else {})


def _shown(row: Any) -> dict[str, Any]:
    return {name: value for name, value in asdict(row).items() if name not in SECRET_FIELDS and name != "tenant"}


def _name(kind: type) -> str:
    return "".join("_" + letter.lower() if letter.isupper() else letter for letter in kind.__name__).lstrip("_")
