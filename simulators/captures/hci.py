"""LE advertising reports out of HCI packets. Pure.

Source: Bluetooth Core Specification 5.4, volume 4 part E, §7.7.65.2 (LE Advertising Report) and §7.7.65.13 (LE Extended
Advertising Report). The reports of one event stand one after another.
"""

from simulators.captures.packet import EVENT, INDICATOR_OF_OPCODE, NO_PACKET, Decoded, Left, Report

LE_META_EVENT = 0x3E
ADVERTISING_REPORT, EXTENDED_ADVERTISING_REPORT = 0x02, 0x0D
"""Event code, and subevents of it."""

LEGACY_HEAD_BYTES, EXTENDED_HEAD_BYTES = 9, 24
"""Of one report, up to its data."""

LEGACY_DATA_MAX_BYTES = 31
"""A legacy advertisement holds no more; a report that claims it is damaged."""

SCAN_RESPONSE_BIT = 0x0008
MORE_TO_COME = 1
"""Extended event type: bit 3, and the value of bits 5-6 while pieces follow. 2 there means that the rest was lost."""

NO_RSSI = 127
"""dBm; "not available"."""

_OTHER, _MALFORMED = Decoded(left=Left.OTHER), Decoded(left=Left.MALFORMED)


def read(h4: bytes) -> Decoded:
    """The reports of a packet in H4 form, indicator first. Those before a damaged one are kept."""
    if h4[:1] != EVENT or h4[1:2] != bytes((LE_META_EVENT,)):
        return _OTHER if h4 else _MALFORMED
    if len(h4) < 5:
        return _MALFORMED
    body = h4[3 : 3 + h4[2]]
    if body[:1] == bytes((ADVERTISING_REPORT,)):
        reports = _legacy(body)
    elif body[:1] == bytes((EXTENDED_ADVERTISING_REPORT,)):
        reports = _extended(body)
    else:
        return _OTHER
    whole = len(body) >= 2 and len(reports) == body[1] and len(reports) > 0
    return Decoded(tuple(reports), None if whole else Left.MALFORMED)


def read_with_direction(data: bytes) -> Decoded:
    """Link type 201: four bytes of direction, then H4."""
    return read(data[4:])


def read_monitor(data: bytes) -> Decoded:
    """Link type 254: adapter and opcode (u16, big-endian), then the HCI packet without an indicator."""
    if len(data) < 4:
        return _MALFORMED
    return read(INDICATOR_OF_OPCODE.get(int.from_bytes(data[2:4], "big"), NO_PACKET) + data[4:])


def _legacy(body: bytes) -> list[Report]:
    found: list[Report] = []
    at = 2
    while len(found) < body[1] and at + LEGACY_HEAD_BYTES <= len(body):
        end = at + LEGACY_HEAD_BYTES + body[at + 8]
        if end >= len(body) or body[at + 8] > LEGACY_DATA_MAX_BYTES:
            break
        found.append(Report(_address(body[at + 2 : at + 8]), _dbm(body[end]), body[at + LEGACY_HEAD_BYTES : end]))
        at = end + 1
    return found


def _extended(body: bytes) -> list[Report]:
    found: list[Report] = []
    at = 2
    while len(found) < body[1] and at + EXTENDED_HEAD_BYTES <= len(body):
        end = at + EXTENDED_HEAD_BYTES + body[at + 23]
        if end > len(body):
            break
        kind = int.from_bytes(body[at : at + 2], "little")
        address = body[at + 3 : at + 9]
        found.append(
            Report(
                address=_address(address),
                rssi_dbm=_dbm(body[at + 13]),
                data=body[at + EXTENDED_HEAD_BYTES : end],
                # address type, address, set, and whether it answers a scan
                chain=(body[at + 2], address, body[at + 11], kind & SCAN_RESPONSE_BIT),
                more=kind >> 5 & 3 == MORE_TO_COME,
            )
        )
        at = end
    return found


def _address(reversed_bytes: bytes) -> str:
    return reversed_bytes[::-1].hex(":")


def _dbm(byte: int) -> int | None:
    return None if byte == NO_RSSI else byte - ((byte & 128) << 1)
