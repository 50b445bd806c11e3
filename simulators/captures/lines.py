"""Frames of trace v1, one a line, as a capture: to keep only one's own beacons, or to rename a scanner."""

from collections.abc import Iterator

from pydantic import TypeAdapter, ValidationError

from simulators.captures.packet import LINES, Decoded, Left, Packet, Report
from simulators.captures.source import Source
from wire.errors import BadCapture
from wire.trace import MAX_LINE_BYTES, Frame

MAGIC = b"{"


def packets(source: Source) -> Iterator[Packet]:
    """Lines in the file's order; a line that is no frame has the time of the one before.

    Raises:
        BadCapture: the file holds sightings, or its last line is cut short.
    """
    at_ns = 0
    while not source.at_end():
        start = source.offset
        line = source.line(MAX_LINE_BYTES)
        frame = _frame(line)
        if frame is not None:
            at_ns = frame.t_ms * 10**6
        elif start == 0 and _is_header(line):
            raise BadCapture(0, "a trace of sightings already; `doorchime demo --trace` plays it")
        elif not line.endswith(b"\n"):
            raise BadCapture(start, "the line that begins here is cut short")
        if line.strip():
            yield Packet(start, at_ns, LINES, 0, line)


def read(line: bytes) -> Decoded:
    """The frame of a line."""
    frame = _frame(line)
    if frame is None:
        return Decoded(left=Left.MALFORMED)
    return Decoded((Report(frame.address, frame.rssi_dbm, bytes.fromhex(frame.adv), scanner=frame.scanner),))


def _frame(line: bytes) -> Frame | None:
    try:
        return Frame.model_validate_json(line, extra="ignore")
    except ValidationError:
        return None


def _is_header(line: bytes) -> bool:
    try:
        return "trace" in TypeAdapter(dict[str, object]).validate_json(line)
    except ValidationError:
        return False
