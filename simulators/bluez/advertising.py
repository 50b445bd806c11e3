"""AD structures as bluetoothd reads them (BlueZ src/eir.c): bytes in, fields out. Nonsense is skipped."""

import uuid
from dataclasses import dataclass, field

FLAGS = 0x01
UUIDS = {0x02: 2, 0x03: 2, 0x04: 4, 0x05: 4, 0x06: 16, 0x07: 16}
"""AD types of service UUID lists → bytes per UUID."""
NAME_SHORT, NAME_COMPLETE = 0x08, 0x09
TX_POWER = 0x0A
SERVICE_DATA = {0x16: 2, 0x20: 4, 0x21: 16}
"""AD types of service data → bytes of the UUID in front of it."""
APPEARANCE = 0x19
MANUFACTURER = 0xFF

DISCOVERABLE_FLAGS = 0x03
"""Limited or general discoverable."""

MAX_AD_BYTES = 1650
"""Longest extended advertisement, bytes (Core 5.4, vol 6, part B, 2.3.4.9); more is cut."""

_BASE_UUID = "0000-1000-8000-00805f9b34fb"


@dataclass(frozen=True)
class Advertisement:
    """One received advertisement, read."""

    structures: tuple[tuple[int, bytes], ...] = ()
    """AD type and content of each structure, in order."""
    flags: int | None = None
    name: str | None = None
    name_complete: bool = False
    uuids: tuple[str, ...] = ()
    tx_power_dbm: int | None = None
    appearance: int | None = None
    manufacturer: dict[int, bytes] = field(default_factory=dict)
    service_data: dict[str, bytes] = field(default_factory=dict)
    other: dict[int, bytes] = field(default_factory=dict)
    """Content of the types that BlueZ gives no property of their own."""

    @property
    def discoverable(self) -> bool:
        """A discoverable flag is set; an unfiltered discovery shows no others."""
        return bool((self.flags or 0) & DISCOVERABLE_FLAGS)


def structures(adv: bytes) -> list[tuple[int, bytes]]:
    """AD type and content of each structure; reading ends at a length of 0 or one past the end."""
    found = []
    at = 0
    adv = adv[:MAX_AD_BYTES]
    while at + 1 < len(adv):
        length = adv[at]
        if length == 0 or at + 1 + length > len(adv):
            break
        found.append((adv[at + 1], adv[at + 2 : at + 1 + length]))
        at += 1 + length
    return found


def read(adv: bytes) -> Advertisement:
    """AD structures, as they came from the air."""
    found = structures(adv)
    flags = name = tx_power_dbm = appearance = None
    name_complete = False
    uuids: dict[str, None] = {}
    manufacturer: dict[int, bytes] = {}
    service_data: dict[str, bytes] = {}
    other: dict[int, bytes] = {}
    for kind, content in found:
        if kind == FLAGS and content:
            flags = content[0]
        elif kind in UUIDS:
            width = UUIDS[kind]
            whole = len(content) - len(content) % width
            uuids |= {spelled(content[at : at + width]): None for at in range(0, whole, width)}
        elif kind in (NAME_SHORT, NAME_COMPLETE) and not name_complete:
            name, name_complete = _text(content), kind == NAME_COMPLETE
        elif kind == TX_POWER and content:
            tx_power_dbm = int.from_bytes(content[:1], signed=True)
        elif kind == APPEARANCE and len(content) >= 2:
            appearance = int.from_bytes(content[:2], "little")
        elif kind in SERVICE_DATA and len(content) >= SERVICE_DATA[kind]:
            width = SERVICE_DATA[kind]
            service_data[spelled(content[:width])] = content[width:]
        elif kind == MANUFACTURER and len(content) >= 2:
            manufacturer[int.from_bytes(content[:2], "little")] = content[2:]
        else:
            other[kind] = content
    return Advertisement(
        tuple(found), flags, name, name_complete, tuple(uuids), tx_power_dbm, appearance, manufacturer, service_data,
        other,
    )  # fmt: skip


def spelled(little: bytes) -> str:
    """A UUID of 2, 4 or 16 bytes, little-endian, in full."""
    if len(little) == 16:
        return str(uuid.UUID(bytes=little[::-1]))
    return f"{int.from_bytes(little, 'little'):08x}-{_BASE_UUID}"


def full_uuid(text: str) -> str:
    """`180f`, `0x180F` or a full UUID → the full one in lower case.

    Raises:
        ValueError: it is none of these.
    """
    short = text.lower().removeprefix("0x")
    if len(short) in (4, 8):
        return f"{int(short, 16):08x}-{_BASE_UUID}"
    return str(uuid.UUID(text))


def _text(content: bytes) -> str:
    """BlueZ makes names valid UTF-8 and ends them at a zero byte; D-Bus allows neither."""
    return content.split(b"\0", 1)[0].decode("utf-8", "replace").strip()
