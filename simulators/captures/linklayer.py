"""Advertisements out of packets as they are in the air, from sniffers. Pure.

Sources: Bluetooth Core Specification 5.4, volume 6 part B, §2.3 (advertising PDUs) and §3.1.1 (CRC);
LINKTYPE_BLUETOOTH_LE_LL (251), LINKTYPE_BLUETOOTH_LE_LL_WITH_PHDR (256, as Ubertooth writes it); the packet format of
Nordic's nRF Sniffer (272), header versions 0 to 3.

A packet is whole when the sniffer says that its CRC was right, or when we compute that it is.
"""

from simulators.captures.packet import Decoded, Left, Report

ACCESS_ADDRESS = bytes.fromhex("d6be898e")
"""Of everything that is advertised, 0x8E89BED6, as sent."""

CRC_INIT = 0xAAAAAA
CRC_POLYNOMIAL = 0xDA6000
"""0x555555 and x^24 + x^10 + x^9 + x^6 + x^4 + x^3 + x + 1, both with their bits in the order of the air."""

ADV_IND, ADV_NONCONN_IND, SCAN_REQ, SCAN_RSP, CONNECT_IND, ADV_SCAN_IND, EXTENDED = 0, 2, 3, 4, 5, 6, 7
LEGACY = (ADV_IND, ADV_NONCONN_IND, SCAN_RSP, ADV_SCAN_IND)
"""PDU types: address, then data."""

LEGACY_MAX_BYTES = 37
"""Longest payload of a legacy PDU: an address and 31 bytes."""

HAS_ADDRESS, HAS_TARGET, HAS_CTE, HAS_SET, HAS_POINTER = 1, 2, 4, 8, 16
"""Flags of the extended header, in the order of its fields."""

CODED_PHY = 2
"""On this PHY a coding indicator stands after the access address."""

PSEUDO_HEADER_BYTES = 10
SIGNAL_VALID, CRC_CHECKED, CRC_VALID = 0x0002, 0x0400, 0x0800
"""Link type 256: channel, signal, noise, offences, reference address (u32), flags (u16, little-endian)."""

NORDIC_HEADER_BYTES = 7
NORDIC_LEGACY_MARK = b"\xbe\xef"
NORDIC_RECEIVED = (0x02, 0x06)
"""Link type 272: board, length (u16), version, counter (u16), packet id; the ids that carry something received."""


def _crc_table() -> tuple[int, ...]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (CRC_POLYNOMIAL if value & 1 else 0)
        table.append(value)
    return tuple(table)


_CRC_TABLE = _crc_table()

_OTHER, _MALFORMED = Decoded(left=Left.OTHER), Decoded(left=Left.MALFORMED)


def crc(pdu: bytes) -> bytes:
    """The three bytes that follow an advertising PDU in the air."""
    value = CRC_INIT
    for byte in pdu:
        value = value >> 8 ^ _CRC_TABLE[(value ^ byte) & 255]
    return value.to_bytes(3, "little")


def read_bare(data: bytes) -> Decoded:
    """Link type 251: access address, PDU, CRC. It has no signal strength."""
    return read(data, None, crc_said=None)


def read_with_header(data: bytes) -> Decoded:
    """Link type 256: a pseudo header, then as 251. Where it says that the CRC was checked, its word is taken."""
    if len(data) < PSEUDO_HEADER_BYTES:
        return _MALFORMED
    flags = int.from_bytes(data[8:10], "little")
    signal = data[1] - ((data[1] & 128) << 1)
    return read(
        data[PSEUDO_HEADER_BYTES:],
        signal if flags & SIGNAL_VALID else None,
        crc_said=bool(flags & CRC_VALID) if flags & CRC_CHECKED else None,
        coded=flags >> 14 == CODED_PHY,
    )


def read_nordic(data: bytes) -> Decoded:
    """Link type 272. Its flag for a bad CRC was seen on packets that are right: then the CRC is computed."""
    legacy = data.startswith(NORDIC_LEGACY_MARK)
    packet_id = data[2:3] if legacy else data[6:7]
    if packet_id and packet_id[0] not in NORDIC_RECEIVED:
        return _OTHER
    if len(data) < NORDIC_HEADER_BYTES + 4:
        return _MALFORMED
    flags, rssi_dbm = data[8], -data[10]  # in every version at these places
    return read(
        data[17 if legacy else NORDIC_HEADER_BYTES + data[7] :],
        rssi_dbm,
        crc_said=True if flags & 1 else None,
        coded=flags >> 4 & 7 == CODED_PHY,
    )


def read(packet: bytes, rssi_dbm: int | None, *, crc_said: bool | None, coded: bool = False) -> Decoded:
    """Access address, PDU, CRC; `crc_said` is what the sniffer found, None where it did not say."""
    head = 5 if coded else 4
    if len(packet) < head + 2:
        return _MALFORMED
    if packet[:4] != ACCESS_ADDRESS:
        return _OTHER  # a connection, or something periodic
    end = head + 2 + packet[head + 1]
    pdu = packet[head:end]
    right = crc(pdu) == packet[end : end + 3] if crc_said is None else crc_said
    if not right:
        return Decoded(left=Left.CRC_BROKEN)
    if end > len(packet):
        return _MALFORMED
    kind, payload = pdu[0] & 15, pdu[2:]
    if kind in LEGACY:
        if not 6 <= len(payload) <= LEGACY_MAX_BYTES:
            return _MALFORMED
        return Decoded((Report(payload[5::-1].hex(":"), rssi_dbm, payload[6:]),))
    if kind == SCAN_REQ:
        return Decoded(left=Left.SCAN_REQUEST)
    if kind == CONNECT_IND:
        return Decoded(left=Left.CONNECTION_REQUEST)
    return _extended(payload, rssi_dbm) if kind == EXTENDED else _OTHER


def _extended(payload: bytes, rssi_dbm: int | None) -> Decoded:
    """One link of a chain: ADV_EXT_IND points to AUX_ADV_IND, which may point to AUX_CHAIN_IND and so on."""
    size = payload[0] & 63 if payload else 64
    if size >= len(payload):
        return _MALFORMED
    header, data = payload[1 : 1 + size], payload[1 + size :]
    flags, at = header[0] if header else 0, 1
    address, chain = "", None
    for flag, length in ((HAS_ADDRESS, 6), (HAS_TARGET, 6), (HAS_CTE, 1), (HAS_SET, 2), (HAS_POINTER, 3)):
        if not flags & flag:
            continue
        value, at = header[at : at + length], at + length
        if len(value) < length:
            return _MALFORMED
        if flag == HAS_ADDRESS:
            address = value[::-1].hex(":")
        elif flag == HAS_SET:
            chain = value
    more = bool(flags & HAS_POINTER)
    if chain is None and (more or not address):
        return _OTHER  # nothing to tie it to
    return Decoded((Report(address, rssi_dbm, data, chain, more, starts=bool(address)),))
