"""btsnoop, version 1: HCI logs of Android, of `hcidump` and of `btmon -w`.

Layout: `btsnoop\\0`, version and datalink (u32), then records of original length, included length, flags, drops (u32)
and time (i64, µs), all big-endian, each followed by its packet. Source: RFC 1761, BlueZ src/shared/btsnoop.c.
"""

import struct
from collections.abc import Iterator

from simulators.captures import packet
from simulators.captures.packet import MAX_PACKET_BYTES, Packet
from simulators.captures.source import Source
from wire.errors import BadCapture

MAGIC = b"btsnoop\0"

HCI, UART, MONITOR = 1001, 1002, 2001
DATALINKS = {HCI: "HCI without encapsulation", UART: "HCI UART (H4)", MONITOR: "Linux monitor"}

UNIX_EPOCH_US = 0x00DCDDB30F2F8000
"""1970 in µs since the year 0, where btsnoop begins to count."""

_INDICATOR_OF_FLAGS = {0: packet.ACL, 1: packet.ACL, 2: packet.COMMAND, 3: packet.EVENT}
"""Datalink 1001: bit 0 is the direction, bit 1 is set on commands and events."""

_RECORD = struct.Struct(">IIIIq")


def packets(source: Source) -> Iterator[Packet]:
    """Records in H4 form.

    Raises:
        BadCapture: an unknown version or datalink, or a record that is cut short or damaged.
    """
    source.take(len(MAGIC), 0, "header")
    version, datalink = struct.unpack(">II", source.take(8, 0, "header"))
    if version != 1:
        raise BadCapture(8, f"btsnoop version {version}; version 1 is read")
    if datalink not in DATALINKS:
        known = ", ".join(f"{number} ({name})" for number, name in DATALINKS.items())
        raise BadCapture(12, f"btsnoop datalink {datalink}; those read are {known}")
    while not source.at_end():
        start = source.offset
        _original, size, flags, _drops, at_us = _RECORD.unpack(source.take(_RECORD.size, start, "record"))
        if size > MAX_PACKET_BYTES:
            raise BadCapture(start, f"a record of {size} bytes; more than {MAX_PACKET_BYTES} means damage")
        data = source.take(size, start, "record")
        interface = 0
        if datalink == HCI:
            data = _INDICATOR_OF_FLAGS[flags & 3] + data
        elif datalink == MONITOR:
            data = packet.INDICATOR_OF_OPCODE.get(flags & 0xFFFF, packet.NO_PACKET) + data
            interface = flags >> 16
        yield Packet(start, (at_us - UNIX_EPOCH_US) * 1000, packet.H4, interface, data)
