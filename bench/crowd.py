"""Who is in the benchmark, where, and what is on offer: the same for the hub and for its rivals."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hub.core.identity import BEACON, STATIC_TRUST, beacon_value, identity_hash
from hub.core.model import Consent, ConsentEvent, Device, Edge, Identity, Offer, Profile, Shop, Zone
from hub.ports import Store
from hub.stores import open_store
from wire.messages import BeaconKey

TENANT = "default"

PEOPLE = 500
"""People who move at the same time."""

CONSENTING = 3
CONSENTING_OF = 5
"""60 % agree to everything; of the rest every second one said no and the others never answered."""

STORES = ("ams", "ber", "cph", "dub", "edi")
DOOR_OFFER_STORES = STORES[:2]
ZONES = {"door": "door", "floor": "floor", "shelf": "floor", "till": "till"}
"""The zones of every store, and their kinds; one edge stands in each."""

PREFIX = "d0c41e02"
"""Fleet prefix of every beacon here."""

_WEEK_S = 7 * 86_400
_CURVES: tuple[dict[str, Any], ...] = (
    {"kind": "linear", "start_bp": 3000, "floor_bp": 500, "life_ms": 7_200_000},
    {"kind": "half_life", "start_bp": 2500, "floor_bp": 500, "half_life_ms": 600_000, "life_ms": 7_200_000},
    {"kind": "cliff", "start_bp": 1500, "floor_bp": 0, "life_ms": 7_200_000},
    {"kind": "linear", "start_bp": 2000, "floor_bp": 0, "life_ms": 10_800_000},
    {"kind": "cliff", "start_bp": 1000, "floor_bp": 0, "life_ms": 10_800_000},
)


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody with a phone. `consenting`: to all that an offer needs."""

    number: int
    profile: str
    device: str
    beacon: BeaconKey
    consenting: bool


def person(number: int) -> Person:
    """Person `number`, the same in every run."""
    digest = hashlib.sha256(f"person {number}".encode()).hexdigest()
    uuid = PREFIX + digest[:24]
    return Person(
        number=number,
        profile=f"01p{digest[24:47]}",
        device=f"01d{digest[24:47]}",
        beacon=BeaconKey(
            uuid=f"{uuid[:8]}-{uuid[8:12]}-{uuid[12:16]}-{uuid[16:20]}-{uuid[20:]}",
            major=number >> 16,
            minor=number & 0xFFFF,
        ),
        consenting=number % CONSENTING_OF < CONSENTING,
    )


def edge_name(store: str, zone: str) -> str:
    """The one edge of a zone."""
    return f"edge-{store}-{zone}"


def offers() -> dict[str, dict[str, Any]]:
    """The five live offers, by id; an offer of higher `priority` goes first, and nobody gets the same twice a week."""
    triggers: dict[str, dict[str, Any]] = {
        "welcome": {"on": "enter"},
        "door": {"on": "enter", "zone_kind": "door", "stores": list(DOOR_OFFER_STORES)},
        "floor": {"on": "enter", "zone_kind": "floor"},
        "browse": {"on": "dwell", "zone_kind": "floor", "dwell_s": 10},
        "stay": {"on": "dwell", "dwell_s": 30},
    }
    return {
        name: {
            "name": name,
            "trigger": trigger,
            "curve": _CURVES[place],
            "currency": "EUR",
            "priority": 100 - 10 * place,
            "cooldown_s": _WEEK_S,
            "content": {"en": {"title": f"{name} offer", "body": "Less with every minute: come in."}},
        }
        for place, (name, trigger) in enumerate(triggers.items())
    }


def furnish(database: Path, hmac_key: bytes, people: Sequence[Person], at_ms: int) -> None:
    """Put stores, edges, offers and people into the hub's database, as staff and phones would have by `at_ms`."""
    store = open_store(f"sqlite:{database}")
    try:
        store.migrate()
        _place(store, at_ms)
        for start in range(0, len(people), 1000):
            _enrol(store, hmac_key, people[start : start + 1000], at_ms)
    finally:
        store.close()


def _place(store: Store, at_ms: int) -> None:
    with store.write() as tx:
        tx.put([Shop(TENANT, one, f"Shop {one}", "UTC", "en", "EUR", 1, at_ms) for one in STORES])
        tx.put([Zone(TENANT, one, zone, zone, kind, 1, at_ms) for one in STORES for zone, kind in ZONES.items()])
        tx.put(
            [
                Edge(TENANT, edge_name(one, zone), one, zone, False, "never", "", 0, 1, at_ms)
                for one in STORES
                for zone in ZONES
            ]
        )
        tx.put([Offer(TENANT, name, 1, "live", body, at_ms, None) for name, body in offers().items()])


def _enrol(store: Store, hmac_key: bytes, people: Sequence[Person], at_ms: int) -> None:
    hashes = {one.number: identity_hash(hmac_key, BEACON, beacon_value(one.beacon)) for one in people}
    ledger = [event for one in people for event in _answers(one, at_ms)]
    with store.write() as tx:
        tx.put([Profile(TENANT, one.profile, "active", None, "UTC", "en", at_ms, at_ms) for one in people])
        tx.put(
            [
                Identity(TENANT, BEACON, hashes[one.number], one.profile, STATIC_TRUST, "enrolment", at_ms, None)
                for one in people
            ]
        )
        tx.put([Device(TENANT, one.device, one.profile, "mqtt", "", True, at_ms, None) for one in people])
        tx.put(ledger)
        tx.put([Consent(TENANT, e.profile, e.purpose, e.action == "given", e.event, e.at_ms) for e in ledger])


def _answers(one: Person, at_ms: int) -> Iterator[ConsentEvent]:
    if not one.consenting and one.number % 2:
        return  # never answered: no row, and no is what counts
    action = "given" if one.consenting else "denied"
    for purpose in ("presence_detection", "personalised_offers", "marketing_push"):
        yield ConsentEvent(
            TENANT, f"{one.profile}-{purpose[:4]}", one.profile, purpose, action,
            "welcome@1", "0" * 64, "app_screen", one.device, at_ms,
        )  # fmt: skip
