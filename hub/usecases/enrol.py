"""A phone or tag joins: a person, an advertised identity, a way to reach them, and a key. No consent yet."""

from typing import NamedTuple

from hub.core.grants import Denied
from hub.core.identity import BEACON, STATIC_TRUST, beacon_value, identity_hash
from hub.core.model import Device, Identity, Profile
from hub.ports import NewId, Tx
from hub.usecases.arrivals import Rules
from hub.usecases.keys import KeyFor, MadeKey, create_key
from wire.errors import BadRequest
from wire.ibeacon import PREFIX_BYTES
from wire.messages import BeaconKey

LOYALTY = "loyalty_id"
LOYALTY_TRUST = 60
"""Trust of a loyalty number, 0…100: above a tag that can be cloned, below an app that proves itself."""

RANDOM_BYTES = 16 + 32
"""What `enrol_device` needs: 16 bytes for a beacon, 32 for a key."""


class EnrolDevice(NamedTuple):
    """What the app says. `beacon` None: the hub allots one. `profile` set: a further device of a known person."""

    locale: str
    tz: str
    beacon: BeaconKey | None
    channel: str
    address: str
    os_permission: bool
    loyalty_id: str | None = None
    profile: str | None = None


class Enrolled(NamedTuple):
    """The new device; `key` speaks for it."""

    device: str
    profile: str
    key: MadeKey
    beacon: BeaconKey


def enrol_device(
    tx: Tx, wanted: EnrolDevice, rules: Rules, prefix: str | None, random: bytes, at_ms: int, new_id: NewId
) -> Enrolled | Denied:
    """Enrol at `at_ms`; `prefix` is the fleet prefix, 8 hexadecimal digits, under which beacons are allotted.

    Denied `already_enrolled` when the beacon or loyalty number belongs to somebody: whoever knows a number must not
    get at the person behind it.

    Raises:
        BadRequest: no beacon was given and the hub has no prefix to allot one under.
    """
    if len(random) != RANDOM_BYTES:
        raise ValueError(f"{RANDOM_BYTES} random bytes are needed")
    beacon = wanted.beacon or _allot(prefix, random[:16])
    values = {BEACON: beacon_value(beacon)}
    if wanted.loyalty_id is not None:
        values[LOYALTY] = wanted.loyalty_id.encode()
    hashes = {namespace: identity_hash(rules.hmac_key, namespace, value) for namespace, value in values.items()}
    taken = tx.get(Identity, [(rules.tenant, namespace, value) for namespace, value in hashes.items()])
    for row in taken:
        if row.valid_to_ms is None and row.profile != wanted.profile:
            return Denied("already_enrolled", f"This {row.namespace} belongs to somebody already.")
    profile = wanted.profile or new_id()
    device = new_id()
    if wanted.profile is None:
        tx.insert([Profile(rules.tenant, profile, "active", None, wanted.tz, wanted.locale, at_ms, at_ms)])
    trust = {BEACON: STATIC_TRUST, LOYALTY: LOYALTY_TRUST}
    tx.put(
        [
            Identity(rules.tenant, namespace, value, profile, trust[namespace], "enrolment", at_ms, None)
            for namespace, value in hashes.items()
        ]
    )
    tx.insert(
        [Device(rules.tenant, device, profile, wanted.channel, wanted.address, wanted.os_permission, at_ms, None)]
    )
    mine = KeyFor("app", "phone", profile=profile, device=device)
    return Enrolled(device, profile, create_key(tx, rules.tenant, mine, random[16:], at_ms, new_id), beacon)


def _allot(prefix: str | None, random: bytes) -> BeaconKey:
    if prefix is None:
        raise BadRequest("no beacon given and none can be allotted: set `prefixes` in the hub's settings")
    uuid = bytes.fromhex(prefix) + random[: 16 - PREFIX_BYTES]
    text = uuid.hex()
    return BeaconKey(
        uuid=f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}",
        major=int.from_bytes(random[12:14], "big"),
        minor=int.from_bytes(random[14:16], "big"),
    )
