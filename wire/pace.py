"""Time of a rehearsal that runs faster than the world: one small shared file, read by every program of it.

    0   8 bytes   magic
    8   record    real anchor (CLOCK_MONOTONIC, ns), virtual anchor (Unix ns), rate, ceiling, crc32 of these 32 bytes
    64  slots     one per reporter: the longest backlog seen since the governor last looked, virtual ms

Virtual time runs on from its anchor at `rate` virtual per real seconds. Whoever owns the file (the governor) writes
the record; a reader that meets a half-written one sees it by the checksum and reads again. A reporter raises its slot,
the governor takes it back to zero. Buffers are arguments: this module maps no file and reads no clock.

Only time of the domain is virtual (visits, curves, deadlines). Time-outs of networks, keep-alives and measured
latencies are not.
"""

import struct
from typing import NamedTuple, Protocol
from zlib import crc32

from wire.errors import BadConfig

MAGIC = b"dcpace1\0"
FILE_BYTES = 4096
"""One page: mapped once, shared by all."""

SLOTS = 500
"""Reporters at most: what fits the page behind the record."""

MAX_RATE = 1000.0
"""Fastest rate. Above it one real millisecond is longer than any deadline of an edge."""

MIN_RATE = 0.01
"""Slowest rate: time never stands still, or nothing that waits for it would ever end."""

_RECORD = struct.Struct("<qqdd")
_CRC = struct.Struct("<I")
_SLOT = struct.Struct("<q")
_RECORD_AT = 8
_CRC_AT = _RECORD_AT + _RECORD.size
_SLOTS_AT = 64
_READS = 1000  # tries to meet a whole record; a writer is done within a microsecond


class Buffer(Protocol):
    """What `mmap` and `bytearray` have in common."""

    def __len__(self) -> int:
        """Bytes."""

    def __getitem__(self, index: slice, /) -> bytes | bytearray:
        """A part."""

    def __setitem__(self, index: slice, value: bytes, /) -> None:
        """Replace a part of the same length."""


class Pace(NamedTuple):
    """How virtual time runs now. `ceiling` is the highest rate it will ever have."""

    real_ns: int
    virtual_ns: int
    rate: float
    ceiling: float

    def at_ns(self, real_ns: int) -> int:
        """Virtual Unix ns at a reading of CLOCK_MONOTONIC; never before the anchor."""
        return self.virtual_ns + int(max(0, real_ns - self.real_ns) * self.rate)

    def turned(self, real_ns: int, rate: float) -> "Pace":
        """The same time, at another rate from `real_ns` on: no instant is skipped or repeated."""
        return Pace(real_ns, self.at_ns(real_ns), min(max(rate, MIN_RATE), self.ceiling), self.ceiling)


def write_pace(buffer: Buffer, pace: Pace) -> None:
    """Put it into the file. Only its owner does."""
    record = _RECORD.pack(*pace)
    buffer[_RECORD_AT : _CRC_AT + _CRC.size] = record + _CRC.pack(crc32(record))
    buffer[0:_RECORD_AT] = MAGIC


def read_pace(buffer: Buffer) -> Pace:
    """The pace that holds now.

    Raises:
        BadConfig: this is no pace file.
    """
    if len(buffer) < FILE_BYTES or bytes(buffer[0:_RECORD_AT]) != MAGIC:
        raise BadConfig("no pace file: it is made by `doorchime demo --speed`")
    for _ in range(_READS):
        whole = bytes(buffer[_RECORD_AT : _CRC_AT + _CRC.size])
        record = whole[: _RECORD.size]
        if _CRC.unpack(whole[_RECORD.size :])[0] == crc32(record):
            return Pace(*_RECORD.unpack(record))
    raise BadConfig("the pace file never holds a whole record: is something else writing to it?")


def report_backlog(buffer: Buffer, slot: int, backlog_ms: int) -> None:
    """Raise a reporter's slot. Two writers at once may cost one report; the next comes within milliseconds."""
    at = _slot_at(slot)
    if backlog_ms > _SLOT.unpack(buffer[at : at + _SLOT.size])[0]:
        buffer[at : at + _SLOT.size] = _SLOT.pack(backlog_ms)


def take_backlogs(buffer: Buffer) -> int:
    """The longest backlog of anybody since the last call, virtual ms; all slots go back to zero."""
    end = _slot_at(SLOTS - 1) + _SLOT.size
    found = max(struct.unpack(f"<{SLOTS}q", bytes(buffer[_SLOTS_AT:end])))
    buffer[_SLOTS_AT:end] = bytes(end - _SLOTS_AT)
    return int(found)


def _slot_at(slot: int) -> int:
    if not 0 <= slot < SLOTS:
        raise BadConfig(f"pace slot {slot}: there are {SLOTS}, from 0")
    return _SLOTS_AT + slot * _SLOT.size
