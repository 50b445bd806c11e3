"""pcapng, version 1: blocks that say their length at both ends; sections, interfaces, packets.

Read are section headers, interfaces with their time resolution and offset, and the three kinds of packet blocks; other
blocks are passed over. Source: draft-ietf-opsawg-pcapng.
"""

import struct
from collections.abc import Iterator
from typing import NamedTuple

from simulators.captures.packet import MAX_PACKET_BYTES, Packet
from simulators.captures.source import Source
from wire.errors import BadCapture

MAGIC = b"\x0a\x0d\x0d\x0a"

SECTION, INTERFACE, OBSOLETE_PACKET, SIMPLE_PACKET, PACKET = 0x0A0D0D0A, 1, 2, 3, 6
READ = (INTERFACE, OBSOLETE_PACKET, SIMPLE_PACKET, PACKET)

IF_TSRESOL, IF_TSOFFSET = 9, 14
"""Options of an interface: the unit of its times, and the seconds to add to them."""

MAX_BLOCK_BYTES = MAX_PACKET_BYTES + 65_536
"""Longest block kept in memory: a packet and its options. Blocks that are passed over may be longer."""

MAX_INTERFACES = 1024
"""Of one section; a real capture has a handful."""

_ORDERS = {b"\x4d\x3c\x2b\x1a": "<", b"\x1a\x2b\x3c\x4d": ">"}


class _Interface(NamedTuple):
    number: int
    link: int
    units_per_s: int
    offset_s: int

    def at_ns(self, ticks: int) -> int:
        return ticks * 10**9 // self.units_per_s + self.offset_s * 10**9


class _Section:
    """What holds until the next section header: byte order, interfaces, the last time seen."""

    def __init__(self, order: str) -> None:
        self.order = order
        self.interfaces: list[_Interface] = []
        self.at_ns = 0

    def unpack(self, layout: str, data: bytes, at: int = 0) -> tuple[int, ...]:
        return struct.unpack_from(self.order + layout, data, at)

    def read(self, kind: int, body: bytes, start: int) -> Packet | None:
        """What a block brings: a packet, or one more interface."""
        try:
            if kind != INTERFACE:
                return self._packet(kind, body, start)
            if len(self.interfaces) == MAX_INTERFACES:
                raise BadCapture(start, f"more than {MAX_INTERFACES} interfaces")
            self._add_interface(body)
        except (struct.error, IndexError):
            raise BadCapture(start, f"a block of type {kind} that contradicts itself") from None
        return None

    def _add_interface(self, body: bytes) -> None:
        (link,) = self.unpack("H", body)
        units_per_s, offset_s = 10**6, 0
        at = 8
        while at + 4 <= len(body):
            code, size = self.unpack("HH", body, at)
            value = body[at + 4 : at + 4 + size]
            if code == 0:
                break
            if code == IF_TSRESOL and len(value) == 1:
                units_per_s = 2 ** (value[0] & 127) if value[0] & 128 else 10 ** value[0]
            elif code == IF_TSOFFSET and len(value) == 8:
                (offset_s,) = self.unpack("q", value)
            at += 4 + size + (-size & 3)
        self.interfaces.append(_Interface(len(self.interfaces), link, units_per_s, offset_s))

    def _packet(self, kind: int, body: bytes, start: int) -> Packet:
        if kind == SIMPLE_PACKET:  # has no time: it came after the one before
            interface, head, (size,) = self.interfaces[0], 4, self.unpack("I", body)
            size = min(size, len(body) - head)
        else:
            layout = "IIIII" if kind == PACKET else "HHIIII"
            fields = self.unpack(layout, body)
            interface, (high, low, size, _original) = self.interfaces[fields[0]], fields[-4:]
            head = 20
            self.at_ns = interface.at_ns(high << 32 | low)
        if size > len(body) - head:
            raise IndexError(size)
        return Packet(start, self.at_ns, interface.link, interface.number, body[head : head + size])


def packets(source: Source) -> Iterator[Packet]:
    """Packets in the file's order; interfaces are numbered from 0 in each section.

    Raises:
        BadCapture: a block that is cut short, contradicts itself, or belongs to a version that is not read.
    """
    section = _Section("<")
    while not source.at_end():
        start = source.offset
        head = source.take(8, start, "block")
        if head[:4] == MAGIC:
            section = _section(source, head, start)
            continue
        kind, size = section.unpack("II", head)
        if size < 12 or size % 4:
            raise BadCapture(start, f"a block of {size} bytes; at least 12, and a multiple of 4, are possible")
        body = _body(source, kind, size, start)
        (again,) = section.unpack("I", source.take(4, start, "block"))
        if again != size:
            raise BadCapture(start, f"a block says {size} bytes at its head and {again} at its end")
        if kind in READ and (packet := section.read(kind, body, start)) is not None:
            yield packet


def _section(source: Source, head: bytes, start: int) -> _Section:
    mark = source.take(4, start, "section header")
    order = _ORDERS.get(mark)
    if order is None:
        raise BadCapture(start, f"a section header whose byte order mark is {mark.hex()}")
    (size,) = struct.unpack(order + "I", head[4:])
    (major,) = struct.unpack(order + "H", source.take(2, start, "section header"))
    if major != 1:
        raise BadCapture(start, f"pcapng version {major}; version 1 is read")
    if size < 28 or size % 4:
        raise BadCapture(start, f"a section header of {size} bytes; at least 28, and a multiple of 4, are possible")
    source.skip(size - 18, start, "section header")
    (again,) = struct.unpack(order + "I", source.take(4, start, "section header"))
    if again != size:
        raise BadCapture(start, f"a section header says {size} bytes at its head and {again} at its end")
    return _Section(order)


def _body(source: Source, kind: int, size: int, start: int) -> bytes:
    if kind not in READ:
        source.skip(size - 12, start, "block")
        return b""
    if size > MAX_BLOCK_BYTES:
        raise BadCapture(start, f"a block of {size} bytes; more than {MAX_BLOCK_BYTES} means damage")
    return source.take(size - 12, start, "block")
