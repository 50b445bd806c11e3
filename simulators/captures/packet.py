"""What the readers of file formats and the decoders of packets hand to each other."""

from collections.abc import Hashable
from enum import StrEnum
from typing import NamedTuple

H4 = 187
"""LINKTYPE_BLUETOOTH_HCI_H4: a packet indicator, then the HCI packet. btsnoop records are brought into this form."""

COMMAND, ACL, SCO, EVENT = b"\x01", b"\x02", b"\x03", b"\x04"
"""Packet indicators of H4."""

NO_PACKET = b"\xff"
"""In the place of an indicator: a record that is no HCI packet, as the coming and going of an adapter."""

INDICATOR_OF_OPCODE = {2: COMMAND, 3: EVENT, 4: ACL, 5: ACL, 6: SCO, 7: SCO}
"""Linux monitor: opcode of a record → indicator."""

LINES = -1
"""Not a link type: a line of a recording that holds frames already."""

MAX_PACKET_BYTES = 262_144
"""Longest record read: libpcap's own limit (MAXIMUM_SNAPLEN). A record that claims more is damaged."""


class Packet(NamedTuple):
    """One record of a capture.

    `offset` is where it begins, in bytes of the unpacked file; `at_ns` the capture's own clock; `link` a LINKTYPE
    number, `H4` or `LINES`; `interface` the number of the adapter (hciN) or of the capture's interface.
    """

    offset: int
    at_ns: int
    link: int
    interface: int
    data: bytes


class Report(NamedTuple):
    """One advertisement, or a piece of one.

    `address` is lower-case text with colons, empty where a piece does not repeat it; `rssi_dbm` None where the capture
    does not say; `data` the AD structures. `chain` names the advertising set while its data may come in pieces (None:
    it never does), `more` says that pieces follow, `starts` that earlier pieces of the set are void. `scanner` is who
    heard it, where the capture says so.
    """

    address: str
    rssi_dbm: float | None
    data: bytes
    chain: Hashable = None
    more: bool = False
    starts: bool = False
    scanner: str | None = None


class Left(StrEnum):
    """Why a packet, or the rest of it, gave no advertisement."""

    CRC_BROKEN = "crc_broken"
    SCAN_REQUEST = "scan_requests"
    CONNECTION_REQUEST = "connection_requests"
    OTHER = "other"
    MALFORMED = "malformed"


class Decoded(NamedTuple):
    """The advertisements of a packet; `left` says why there are none, or, after some, why not more."""

    reports: tuple[Report, ...] = ()
    left: Left | None = None
