"""Who is it? Identifiers are kept as per-tenant HMACs: a stolen database cannot be matched with a list of guesses."""

import hashlib
import hmac

from wire.ibeacon import parse_uuid
from wire.messages import BeaconKey

BEACON = "beacon"
"""Namespace of advertised identities; the value is the 20 bytes UUID + major + minor."""

STATIC_TRUST = 40
"""Trust of a static beacon, 0…100: it can be cloned, so below everything a person proves (loyalty id 60, app 80)."""


def identity_hash(hmac_key: bytes, namespace: str, value: bytes) -> str:
    """HMAC-SHA256 of namespace and value, hexadecimal; equal values in different namespaces differ."""
    return hmac.new(hmac_key, namespace.encode() + b"\0" + value, hashlib.sha256).hexdigest()


def beacon_value(beacon: BeaconKey) -> bytes:
    """The 20 bytes that identify a beacon."""
    return parse_uuid(beacon.uuid) + beacon.major.to_bytes(2, "big") + beacon.minor.to_bytes(2, "big")
