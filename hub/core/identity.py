"""Who is it? Identifiers are kept as per-tenant HMACs: a stolen database cannot be matched with a list of guesses."""

import hashlib
import hmac

from wire.ibeacon import parse_uuid
from wire.messages import BeaconKey

BEACON = "beacon"
"""Namespace of advertised identities; the value is the 20 bytes UUID + major + minor."""

ERASED = "erased-"
"""How every pseudonym begins, and no profile id: those are ULIDs, without a hyphen."""

STATIC_TRUST = 40
"""Trust of a static beacon, 0…100: it can be cloned, so below everything a person proves (loyalty id 60, app 80)."""


BeaconId = tuple[str, int, int]
"""UUID, major, minor: a beacon as a key of a dict, since a tuple hashes several times faster than a model."""


def beacon_id(beacon: BeaconKey) -> BeaconId:
    """What tells one beacon from another."""
    return beacon.uuid, beacon.major, beacon.minor


def identity_hash(hmac_key: bytes, namespace: str, value: bytes) -> str:
    """HMAC-SHA256 of namespace and value, hexadecimal; equal values in different namespaces differ."""
    return hmac.digest(hmac_key, namespace.encode() + b"\0" + value, hashlib.sha256).hex()


def pseudonym(tenant: str, profile: str) -> str:
    """What stays in place of an erased profile id.

    Profile ids are random, so the hash cannot be found by guessing; rows of one person stay together, nameless.
    """
    return ERASED + hashlib.sha256(f"{tenant}/{profile}".encode()).hexdigest()[:24]


def is_pseudonym(profile: str) -> bool:
    """Whether this stands for somebody who was erased."""
    return profile.startswith(ERASED)


def beacon_value(beacon: BeaconKey | BeaconId) -> bytes:
    """The 20 bytes that identify a beacon."""
    uuid, major, minor = beacon if isinstance(beacon, tuple) else beacon_id(beacon)
    return parse_uuid(uuid) + major.to_bytes(2, "big") + minor.to_bytes(2, "big")


def fingerprint(key: bytes) -> str:
    """Tells one secret from another and nothing about it: a keyed hash of a fixed text, 32 hexadecimal digits."""
    return hmac.new(key, b"doorchime secret fingerprint", hashlib.sha256).hexdigest()[:32]
