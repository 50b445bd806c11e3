"""Rotating identities over plain iBeacon frames: (key, window) → the 20 bytes a phone or tag advertises.

    UUID[0:4] = fleet prefix | UUID[4:16] + major + minor = 16 ephemeral bytes

The prefix names the scheme. *Derived* (HMAC-SHA256, works offline, resolved by a table) and *sealed* (one
AES-256-ECB block issued by the server, resolved by opening it) are written down here; *static* frames are ordinary
iBeacons. HMAC-SHA256 because iOS, Android and WebCrypto all ship it. The block cipher itself is the caller's:
this package has no cryptography but the standard library's.

An edge never imports this module: an edge *cannot* resolve a person.
"""

import hashlib
import hmac
import struct
from typing import NamedTuple

from wire.errors import BadFrame
from wire.ibeacon import PREFIX_BYTES, Beacon

WINDOW_S = 900
"""Life of one ephemeral id, s. The same as Bluetooth's default for rotating addresses, so both change at once."""

WINDOWS_PER_DAY = 96
"""86,400 s / WINDOW_S: one day key covers exactly one UTC day."""

TOLERANCE_WINDOWS = 1
"""Windows accepted on either side of now: a clock may be up to 15 minutes off, and a replay lives ≤ 45 minutes."""

EPHEMERAL_BYTES = 16
INDEX_BYTES = 8
"""Bytes a resolver looks up by; the other 8 are confirmed afterwards with `hmac.compare_digest`."""

_SEALED = struct.Struct(">5sI7s")


class SealedToken(NamedTuple):
    """The plaintext of one sealed block: `serial` 0…2⁴⁰−1 names the profile, `window` its 15 minutes."""

    serial: int
    window: int


def _u32(window: int) -> bytes:
    if not 0 <= window < 1 << 32:
        raise BadFrame(f"window {window} does not fit 4 bytes")
    return struct.pack(">I", window)


def window_at(unix_s: int) -> int:
    """Number of the window that holds this second."""
    return unix_s // WINDOW_S


def day_key(root: bytes, window: int) -> bytes:
    """32-byte key of the window's day: lets a resolver hold one day only.

    Raises:
        BadFrame: `root` is not 32 bytes.
    """
    if len(root) != 32:
        raise BadFrame(f"root key has {len(root)} bytes, not 32")
    return hmac.digest(root, b"dc1-day" + _u32(window // WINDOWS_PER_DAY), hashlib.sha256)


def derived_id(key_of_day: bytes, window: int) -> bytes:
    """16 ephemeral bytes of `window`."""
    return hmac.digest(key_of_day, b"dc1-eid" + _u32(window), hashlib.sha256)[:EPHEMERAL_BYTES]


def sealed_block(token: SealedToken) -> bytes:
    """The 16 plaintext bytes to encrypt: serial (5), window (4), seven zero bytes that prove the key."""
    if not 0 <= token.serial < 1 << 40:
        raise BadFrame(f"serial {token.serial} does not fit 5 bytes")
    return token.serial.to_bytes(5, "big") + _u32(token.window) + bytes(7)


def open_block(block: bytes, now_window: int) -> SealedToken | None:
    """Read a decrypted block; None when the padding or the window says that it is not ours or not now."""
    if len(block) != EPHEMERAL_BYTES:
        raise BadFrame(f"sealed block has {len(block)} bytes, not {EPHEMERAL_BYTES}")
    serial, window, zeros = _SEALED.unpack(block)
    if not hmac.compare_digest(zeros, bytes(7)) or abs(window - now_window) > TOLERANCE_WINDOWS:
        return None
    return SealedToken(int.from_bytes(serial, "big"), window)


def to_beacon(prefix: bytes, ephemeral: bytes, power_dbm: int) -> Beacon:
    """Put prefix and ephemeral bytes into the fields of an iBeacon."""
    if len(prefix) != PREFIX_BYTES or len(ephemeral) != EPHEMERAL_BYTES:
        raise BadFrame(f"prefix must have {PREFIX_BYTES} bytes and the ephemeral part {EPHEMERAL_BYTES}")
    major, minor = struct.unpack(">HH", ephemeral[12:])
    return Beacon(prefix + ephemeral[:12], major, minor, power_dbm)


def ephemeral_of(beacon: Beacon) -> bytes:
    """The 16 bytes after the prefix; inverse of `to_beacon`."""
    return beacon.key[PREFIX_BYTES:]
