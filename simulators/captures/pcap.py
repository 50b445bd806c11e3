"""pcap, the format of libpcap before pcapng: a header with one link type, then records.

Either byte order; times in µs or ns, told by the magic number. Source: draft-ietf-opsawg-pcap.
"""

import struct
from collections.abc import Iterator

from simulators.captures.packet import MAX_PACKET_BYTES, Packet
from simulators.captures.source import Source
from wire.errors import BadCapture

_KINDS = {
    b"\xd4\xc3\xb2\xa1": ("<", 1000),
    b"\xa1\xb2\xc3\xd4": (">", 1000),
    b"\x4d\x3c\xb2\xa1": ("<", 1),
    b"\xa1\xb2\x3c\x4d": (">", 1),
}
"""Magic number → byte order, ns per unit of the fraction."""

MAGICS = tuple(_KINDS)

LINK_BITS = 0x0FFFFFFF
"""The upper four bits of the link type tell of a frame check sequence."""


def packets(source: Source) -> Iterator[Packet]:
    """Records in the file's order.

    Raises:
        BadCapture: a record that is cut short or damaged.
    """
    order, unit_ns = _KINDS[source.take(4, 0, "header")]
    _version, _zone, _accuracy, _limit, link = struct.unpack(order + "IIIII", source.take(20, 0, "header"))
    while not source.at_end():
        start = source.offset
        at_s, fraction, size, _original = struct.unpack(order + "IIII", source.take(16, start, "record"))
        if size > MAX_PACKET_BYTES:
            raise BadCapture(start, f"a record of {size} bytes; more than {MAX_PACKET_BYTES} means damage")
        data = source.take(size, start, "record")
        yield Packet(start, at_s * 10**9 + fraction * unit_ns, link & LINK_BITS, 0, data)
