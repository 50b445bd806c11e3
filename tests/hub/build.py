"""Short ways to build messages, people and shops for tests of the hub."""

from dataclasses import replace

from hub.core.identity import BEACON, beacon_value, identity_hash
from hub.core.model import Consent, ConsentEvent, Device, Edge, Identity, Offer, Profile, Shop, Zone
from hub.usecases.arrivals import Rules
from hub.usecases.presence import Batch
from wire.messages import BeaconKey, ClockStamp, LostEvent, Presence, PresenceEvent, Read, Unread

TENANT = "default"
KEY = bytes(range(32))
RULES = Rules(tenant=TENANT, hmac_key=KEY)
NOON_MS = 1_790_942_400_000  # a Thursday, 12:00 UTC: Unix ms
BOOTED_AT_MS = NOON_MS - 1_000_000  # boot clock 0 of every edge here
EVERY_PURPOSE = ("presence_detection", "personalised_offers", "marketing_push")


class Ids:
    """Fresh ids in order; the same in every run."""

    def __init__(self):
        self.count = 0

    def __call__(self):
        self.count += 1
        return f"id{self.count:08d}"


def beacon(number=1):
    return BeaconKey(uuid="d0c41e02-0000-4000-8000-000000000000", major=number >> 16, minor=number & 0xFFFF)


def event(seq, kind="sample", who=1, mono_ms=1_000_000, rssi_dbm=-60.0, n=3):
    return PresenceEvent(
        seq=seq, kind=kind, beacon=beacon(who), observed_mono_ms=mono_ms, first_mono_ms=mono_ms, last_mono_ms=mono_ms,
        rssi_dbm=rssi_dbm, sd_db=1.0, n=n, span_ms=0,
    )  # fmt: skip


def sample(seq, **more):
    return event(seq, "sample", **more)


def lost(first_seq, seq, samples=0, enters=0, exits=0, reason="overflow"):
    return LostEvent(
        seq=seq, kind="lost", first_seq=first_seq, samples=samples, enters=enters, exits=exits, reason=reason
    )


def unread(seq):
    return Unread(seq=seq, kind="future")


def message(*events, edge="e-door", boot="b1", oldest_seq=1, sent_mono_ms=1_000_000, synced=True):
    return Presence(
        v=1, edge=edge, boot=boot, oldest_seq=oldest_seq, sent_mono_ms=sent_mono_ms, sent_at_ms=0,
        clock=ClockStamp(source="kernel", offset_ms=BOOTED_AT_MS, error_ms=10, synced=synced), events=list(events),
    )  # fmt: skip


def batch(*events, store="s1", received_at_ms=NOON_MS, bad=(), **more):
    built = message(*events, **more)
    return Batch(store, built.edge, Read(built, list(bad), 0), received_at_ms)


CURVE = {"kind": "linear", "start_bp": 3000, "floor_bp": 500, "life_ms": 600_000}


def offer(name="o1", *, version=1, state="live", superseded_at_ms=None, **changes):
    body = {
        "name": name,
        "trigger": {"on": "enter"},
        "curve": CURVE,
        "currency": "EUR",
        "content": {"en": {"title": "Hello"}, "de": {"title": "Hallo"}},
        **changes,
    }
    return Offer(TENANT, name, version, state, body, 0, superseded_at_ms)


def shop(store="s1", tz="UTC"):
    return Shop(TENANT, store, store, tz, "en", "EUR", 1, 0)


def zone(name, kind, store="s1"):
    return Zone(TENANT, store, name, name, kind, 1, 0)


def edge(name, zone_name, store="s1"):
    return Edge(TENANT, name, store, zone_name, False, "never", "", 0, 1, 0)


def person(tx, number=1, purposes=EVERY_PURPOSE, device=True, at_ms=0, key=KEY, profile=None):
    """Enrol somebody with beacon `number`; returns the profile id."""
    profile = profile or f"p{number}"
    tx.put([Profile(TENANT, profile, "active", None, "UTC", "en", at_ms, at_ms)])
    value = identity_hash(key, BEACON, beacon_value(beacon(number)))
    tx.put([Identity(TENANT, BEACON, value, profile, 40, "test", at_ms, None)])
    if device:
        tx.put([Device(TENANT, f"d{number}", profile, "mqtt", "", True, at_ms, None)])
    consents(tx, profile, dict.fromkeys(purposes, True), at_ms)
    return profile


def consents(tx, profile, purposes, at_ms):
    for purpose, given in purposes.items():
        name = f"c-{profile}-{purpose}-{at_ms}"
        action = "given" if given else "withdrawn"
        tx.put([ConsentEvent(TENANT, name, profile, purpose, action, "n@1", "0" * 64, "app_screen", profile, at_ms)])
        tx.put([Consent(TENANT, profile, purpose, given, name, at_ms)])


def house(tx, *offers):
    """One store: approach, door, floor and till, one edge each."""
    tx.put([shop()])
    kinds = ("approach", "door", "floor", "till")
    tx.put([zone(kind, kind) for kind in kinds])
    tx.put([edge(f"e-{kind}", kind) for kind in kinds])
    if offers:
        tx.put(list(offers))


def changed(row, **changes):
    return replace(row, **changes)
