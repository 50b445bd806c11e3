"""iBeacon: a 23-byte manufacturer payload ⇄ `Beacon`. Strict: whatever is wrong raises `BadFrame`, nothing else.

Layout (Apple, "Proximity Beacon Specification" R1), after the company id 0x004C of the AD structure:

    02 15 | UUID, 16 bytes | major, u16 big-endian | minor, u16 big-endian | measured power, i8 dBm at 1 m

In the air it stands in an AD structure of type 0xFF and length 0x1A: `1A FF 4C 00 02 15 …`. A length of 0x1B
(a 24-byte payload) is sent by some tools and is refused: the frame would not be the one it claims to be.
"""

import struct
from typing import NamedTuple

from wire.errors import BadFrame

APPLE_COMPANY_ID = 0x004C
"""Bluetooth SIG company identifier of Apple; iBeacon exists under this one only."""

FRAME_BYTES = 23
"""Payload after the company id: 2 type bytes + 16 + 2 + 2 + 1."""

PROXIMITY_TYPE = b"\x02\x15"
"""iBeacon subtype and the length of what follows (0x15 = 21)."""

MANUFACTURER_AD_TYPE = 0xFF
"""Generic Access Profile AD type "Manufacturer Specific Data"."""

PREFIX_BYTES = 4
"""Length of the fleet prefix, the first bytes of the UUID, on which kernel, edge and hub filter."""

PREFIX = slice(2, 2 + PREFIX_BYTES)
"""Where the fleet prefix stands in a payload."""

_LAYOUT = struct.Struct(">16sHHb")
_KEY_LAYOUT = struct.Struct(">16sHH")
_make = (
    tuple.__new__
)  # `Beacon(…)` and `Beacon._make` count again the fields that the layout gives, for the same time again


class Beacon(NamedTuple):
    """What one iBeacon advertisement says.

    `uuid` is 16 raw bytes (formatting a UUID costs more than decoding it); `major` and `minor` are 0…65535;
    `power_dbm` is the measured power at 1 m, −128…127: 0 and positive values occur in the field and are kept.
    """

    uuid: bytes
    major: int
    minor: int
    power_dbm: int

    @property
    def key(self) -> bytes:
        """The 20 identifying bytes: UUID, major, minor."""
        return _KEY_LAYOUT.pack(self.uuid, self.major, self.minor)


def decode(payload: bytes) -> Beacon:
    """Read the manufacturer payload that follows company id 0x004C.

    Raises:
        BadFrame: not exactly 23 bytes, or not starting with `02 15`.
    """
    if len(payload) != FRAME_BYTES:
        raise BadFrame(f"iBeacon payload has {len(payload)} bytes, not {FRAME_BYTES}")
    if payload[:2] != PROXIMITY_TYPE:
        raise BadFrame(f"payload starts with {payload[:2].hex()}, not 0215")
    # `Beacon(…)` takes a detour as long as the whole of this: the layout gives exactly the fields
    return tuple.__new__(Beacon, _LAYOUT.unpack_from(payload, 2))


def key_of(payload: bytes) -> bytes:
    """The 20 identifying bytes, `decode(payload).key`, for those who need no more; as strict as `decode`.

    Raises:
        BadFrame: as `decode`.
    """
    if len(payload) != FRAME_BYTES or payload[:2] != PROXIMITY_TYPE:
        decode(payload)  # says what is wrong
    return payload[2:22]


def encode(beacon: Beacon) -> bytes:
    """The 23 bytes of `beacon`; exact inverse of `decode`.

    Raises:
        BadFrame: a field is out of range.
    """
    if len(beacon.uuid) != 16:
        raise BadFrame(f"uuid has {len(beacon.uuid)} bytes, not 16")
    try:
        return PROXIMITY_TYPE + _LAYOUT.pack(*beacon)
    except struct.error as exc:
        raise BadFrame(f"field out of range: {exc}") from exc


def decode_ad(adv: bytes) -> Beacon | None:
    """Find the iBeacon in raw advertising data; None where the data is well formed and holds none.

    Other structures may come first, other manufacturers' data included. Zero padding ends the data.

    Raises:
        BadFrame: a structure runs past the end, or Apple data of type 0x02 is not an exact iBeacon.
    """
    at = 0
    while at < len(adv):
        length = adv[at]
        if length == 0:
            return None  # Core Spec vol 3 part C §11: a zero length ends the significant part
        end = at + 1 + length
        if end > len(adv):
            raise BadFrame(f"AD structure at byte {at} claims {length} bytes, {len(adv) - at - 1} are left")
        if (
            length >= 4
            and adv[at + 1] == MANUFACTURER_AD_TYPE
            and adv[at + 2 : at + 4] == b"\x4c\x00"
            and adv[at + 4 : at + 5] == b"\x02"
        ):
            return decode(adv[at + 4 : end])
        at = end
    return None


def encode_ad(beacon: Beacon) -> bytes:
    """The 27-byte AD structure `1A FF 4C 00 …` as a transmitter puts it on the air."""
    body = bytes((MANUFACTURER_AD_TYPE,)) + APPLE_COMPANY_ID.to_bytes(2, "little") + encode(beacon)
    return bytes((len(body),)) + body


def format_uuid(uuid: bytes) -> str:
    """16 bytes as lower-case text with dashes, the only spelling on the wire."""
    text = uuid.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def parse_uuid(text: str) -> bytes:
    """Inverse of `format_uuid`; dashes and case are free.

    Raises:
        BadFrame: not 32 hexadecimal digits.
    """
    digits = text.replace("-", "")
    try:
        uuid = bytes.fromhex(digits)
    except ValueError as exc:
        raise BadFrame(f"{text!r} is not a UUID") from exc
    if len(uuid) != 16 or len(digits) != 32:  # fromhex skips white space
        raise BadFrame(f"{text!r} is not a UUID of 32 hexadecimal digits")
    return uuid
