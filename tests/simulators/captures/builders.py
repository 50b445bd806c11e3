"""Captures written byte by byte, independently of the readers."""

import io
import struct
from typing import NamedTuple

from simulators.captures.formats import recognise
from simulators.captures.source import Source
from wire.errors import BadCapture
from wire.ibeacon import Beacon, encode_ad

EPOCH_US = 0x00DCDDB30F2F8000
START_US = 1_700_000_000_000_000

UUID = bytes.fromhex("d0c41e02000040008000000000000001")
IBEACON = encode_ad(Beacon(UUID, 1, 2, -59))
FLAGS_AD = bytes.fromhex("020106")
ADDRESS = bytes.fromhex("112233445566")  # as the air has it: last byte first
SPELLED = "66:55:44:33:22:11"


def source(data):
    return Source(io.BufferedReader(io.BytesIO(data)))


def packets(data):
    return list(recognise(source(data))[1])


# -- HCI -----------------------------------------------------------------------------------------------------------


def legacy_report(data=IBEACON, rssi=-60, address=ADDRESS, kind=0):
    return bytes((kind, 1)) + address + bytes((len(data),)) + data + struct.pack("b", rssi)


def extended_report(data=IBEACON, rssi=-60, address=ADDRESS, *, status=0, sid=0, kind=0x12):
    event_type = struct.pack("<H", kind | status << 5)
    phys = bytes((1, 0, sid, 127)) + struct.pack("b", rssi)
    periodic_and_target = bytes(2 + 7)
    return event_type + b"\1" + address + phys + periodic_and_target + bytes((len(data),)) + data


def event(subevent, *reports, count=None):
    """An HCI LE meta event without its H4 indicator."""
    body = bytes((subevent, len(reports) if count is None else count)) + b"".join(reports)
    return bytes((0x3E, len(body))) + body


def legacy(*reports, **more):
    return b"\x04" + event(0x02, *(reports or (legacy_report(),)), **more)


def extended(*reports, **more):
    return b"\x04" + event(0x0D, *(reports or (extended_report(),)), **more)


COMMAND = bytes.fromhex("010c20020100")


# -- link layer ----------------------------------------------------------------------------------------------------


def crc24(pdu):
    """Bit by bit as the Core Specification draws it: a register of 24 bits, fed least significant bit first."""
    register = [0x555555 >> place & 1 for place in range(24)]
    for byte in pdu:
        for place in range(8):
            fed = register[23] ^ (byte >> place & 1)
            register = [fed, *register[:23]]
            for tap in (1, 3, 4, 6, 9, 10):
                register[tap] ^= fed
    sent = register[::-1]  # position 23 goes first
    return bytes(sum(sent[8 * n + place] << place for place in range(8)) for n in range(3))


def pdu(kind=2, payload=ADDRESS + IBEACON):
    return bytes((kind | 0x40, len(payload))) + payload


def air(body=None, *, crc=None, coded=False, access=b"\xd6\xbe\x89\x8e"):
    body = pdu() if body is None else body
    return access + (b"\0" if coded else b"") + body + (crc24(body) if crc is None else crc)


def extended_pdu(data=b"", *, address=None, adi=None, pointer=False, mode=0, target=False):
    fields = b""
    flags = 0
    for bit, present, value in (
        (0, address is not None, address), (1, target, bytes(6)), (3, adi is not None, adi), (4, pointer, bytes(3)),
    ):  # fmt: skip
        if present:
            flags, fields = flags | 1 << bit, fields + value
    header = bytes((flags,)) + fields if flags else b""
    return pdu(7, bytes((len(header) | mode << 6,)) + header + data)


def phdr(packet, *, rssi=-60, flags=0x0037):
    return bytes((0,)) + struct.pack("bb", rssi, -100) + bytes(1) + bytes.fromhex("d6be898e") + flags.to_bytes(
        2, "little"
    ) + packet  # fmt: skip


def nordic(packet, *, version=2, rssi=-60, flags=1, packet_id=6):
    rest = bytes((flags, 37, -rssi)) + bytes(6) + packet
    if version == 0:
        return b"\xbe\xef" + bytes((packet_id, 1, 0, 0, 0, len(rest) + 1)) + rest
    counter = b"\1\0"
    if version == 1:
        return bytes((11, 6, len(rest) + 1, 1)) + counter + bytes((packet_id, 10)) + rest
    return b"\x0b" + struct.pack("<HB", len(rest) + 1, version) + counter + bytes((packet_id, 10)) + rest


# -- files ---------------------------------------------------------------------------------------------------------


class Record(NamedTuple):
    """Of btsnoop; without a time it comes one ms after the one before."""

    data: bytes
    flags: int = 0
    at_us: int | None = None


def btsnoop(*records, datalink=1002, version=1):
    """Records: bytes or `Record`."""
    found = [b"btsnoop\0", struct.pack(">II", version, datalink)]
    for number, record in enumerate(records):
        data, flags, at_us = record if isinstance(record, Record) else Record(record)
        at_us = number * 1000 if at_us is None else at_us
        found.append(struct.pack(">IIIIq", len(data), len(data), flags, 0, EPOCH_US + START_US + at_us) + data)
    return b"".join(found)


def pcap(*records, link=187, order="<", ns=False):
    """Records: bytes, one ms apart."""
    magic = 0xA1B23C4D if ns else 0xA1B2C3D4
    found = [struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 65535, link)]
    unit = 1_000_000 if ns else 1000
    for number, data in enumerate(records):
        found.append(struct.pack(order + "IIII", 1_700_000_000, number * unit, len(data), len(data)) + data)
    return b"".join(found)


def block(kind, body, order="<"):
    padded = body + bytes(-len(body) % 4)
    size = struct.pack(order + "I", len(padded) + 12)
    return struct.pack(order + "I", kind) + size + padded + size


def section(order="<", major=1):
    return block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, major, 0, -1), order)


def option(code, value, order="<"):
    return struct.pack(order + "HH", code, len(value)) + value + bytes(-len(value) % 4)


def interface(link, *options, order="<"):
    return block(1, struct.pack(order + "HHI", link, 0, 0) + b"".join(options), order)


def packet_block(data, ticks=START_US, number=0, order="<"):
    head = struct.pack(order + "IIIII", number, ticks >> 32, ticks & 0xFFFFFFFF, len(data), len(data))
    return block(6, head + data + bytes(-len(data) % 4), order)


def pcapng(*records, link=187, order="<"):
    """Records: bytes, one ms apart."""
    blocks = [packet_block(data, START_US + 1000 * number, order=order) for number, data in enumerate(records)]
    return section(order) + interface(link, order=order) + b"".join(blocks)


def until_damage(data):
    """The packets that could be read, and the fault that ended it or None."""
    found = []
    try:
        for packet in recognise(source(data))[1]:
            found.append(packet)  # one by one: what came before the fault is kept
    except BadCapture as fault:
        return found, fault
    return found, None
