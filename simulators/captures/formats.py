"""Which reader a capture needs, told by its first bytes, never by its name."""

from collections.abc import Iterator

from simulators.captures import btsnoop, lines, pcap, pcapng
from simulators.captures.packet import Packet
from simulators.captures.source import Source
from wire.errors import BadCapture

READABLE = "btsnoop, pcapng, pcap, or frames of trace v1, plain or packed as .xz or .gz"


def recognise(source: Source) -> tuple[str, Iterator[Packet]]:
    """Name of the format, and its packets.

    Raises:
        BadCapture: none of those that are read. Reading on raises it where the file is damaged.
    """
    if source.at_end():
        raise BadCapture(0, "the file is empty")
    head = source.peek(8)
    if head == btsnoop.MAGIC:
        return "btsnoop", btsnoop.packets(source)
    if head.startswith(pcapng.MAGIC):
        return "pcapng", pcapng.packets(source)
    if head.startswith(pcap.MAGICS):
        return "pcap", pcap.packets(source)
    if head.startswith(lines.MAGIC):
        return "frames", lines.packets(source)
    raise BadCapture(0, f"it begins with {head.hex(' ')}, which is no capture that is read here: {READABLE}")
