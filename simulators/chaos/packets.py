"""MQTT 3.1.1 packets in a byte stream: found whole, PUBLISH and PUBACK read and written, all else passed on as it is.

Section numbers are those of the OASIS standard "MQTT Version 3.1.1".
"""

from typing import NamedTuple

from wire.errors import BadMessage

PUBLISH, PUBACK = 3, 4
"""Packet types, §2.2.1."""

MAX_PACKET_BYTES = 1_048_576
"""Longest packet taken: sixteen times what any program of ours sends. Bounds what waits for its rest."""

_DUP, _RETAIN = 0x08, 0x01
_MAX_LENGTH_BYTES = 4  # §2.2.3


class Publish(NamedTuple):
    """A PUBLISH packet, §3.3. `packet_id` is None with QoS 0."""

    topic: str
    payload: bytes
    qos: int
    packet_id: int | None
    dup: bool = False
    retain: bool = False


class PacketReader:
    """Cuts a stream into packets, however it is chopped."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """The packets that are complete now, each with its header; the rest waits.

        Raises:
            BadMessage: what comes is no MQTT; the connection is of no further use.
        """
        self._rest += data
        found = []
        while (size := _size(self._rest)) is not None and len(self._rest) >= size:
            found.append(bytes(self._rest[:size]))
            del self._rest[:size]
        return found

    @property
    def waiting(self) -> int:
        """Bytes of an incomplete packet."""
        return len(self._rest)


def kind_of(packet: bytes) -> int:
    """The packet type, 1…14."""
    return packet[0] >> 4


def read_publish(packet: bytes) -> Publish:
    """A whole PUBLISH packet.

    Raises:
        BadMessage: it is none, or its parts do not fit.
    """
    flags = packet[0] & 0x0F
    qos = flags >> 1 & 3
    if kind_of(packet) != PUBLISH or qos == 3:
        raise BadMessage("no PUBLISH packet")
    body = _body(packet)
    if len(body) < 2:
        raise BadMessage("PUBLISH without a topic")
    at = 2 + int.from_bytes(body[:2], "big")
    end = at + (2 if qos else 0)
    if len(body) < end:
        raise BadMessage("PUBLISH is shorter than it says")
    try:
        topic = body[2:at].decode()
    except UnicodeDecodeError:
        raise BadMessage("PUBLISH with a topic that is not UTF-8") from None
    packet_id = int.from_bytes(body[at:end], "big") if qos else None
    return Publish(topic, body[end:], qos, packet_id, bool(flags & _DUP), bool(flags & _RETAIN))


def write_publish(publish: Publish) -> bytes:
    """The bytes of a PUBLISH packet."""
    topic = publish.topic.encode()
    body = len(topic).to_bytes(2, "big") + topic
    if publish.packet_id is not None:
        body += publish.packet_id.to_bytes(2, "big")
    body += publish.payload
    flags = publish.qos << 1 | (_DUP if publish.dup else 0) | (_RETAIN if publish.retain else 0)
    return bytes((PUBLISH << 4 | flags,)) + _length(len(body)) + body


def read_puback(packet: bytes) -> int:
    """Which packet id a PUBACK answers.

    Raises:
        BadMessage: it is no PUBACK.
    """
    if kind_of(packet) != PUBACK or len(packet) != 4:
        raise BadMessage("no PUBACK packet")
    return int.from_bytes(packet[2:4], "big")


def _size(data: bytearray) -> int | None:
    """Bytes of the packet that begins here, None while its header is incomplete."""
    if not data:
        return None
    if not 1 <= data[0] >> 4 <= 14:
        raise BadMessage(f"packet type {data[0] >> 4} is reserved")
    length = 0
    for place in range(_MAX_LENGTH_BYTES):
        if len(data) <= 1 + place:
            return None
        length |= (data[1 + place] & 0x7F) << 7 * place
        if not data[1 + place] & 0x80:
            size = 2 + place + length
            if size > MAX_PACKET_BYTES:
                raise BadMessage(f"a packet of {size} bytes, more than {MAX_PACKET_BYTES}")
            return size
    raise BadMessage("a packet length of more than four bytes")


def _body(packet: bytes) -> bytes:
    at = 1
    while packet[at] & 0x80:
        at += 1
    return packet[at + 1 :]


def _length(number: int) -> bytes:
    """§2.2.3: seven bits a byte, the lowest first."""
    found = bytearray()
    while True:
        number, low = number >> 7, number & 0x7F
        found.append(low | (0x80 if number else 0))
        if not number:
            return bytes(found)
