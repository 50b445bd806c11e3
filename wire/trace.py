"""Trace, version 1: recorded radio traffic as JSON lines. Reads both kinds; bytes in, records out.

*Sightings* (`*.trace.jsonl`): a header line `{"trace": 1, "name", "source", "licence", "zones", "scanners":
[{"id", "zone", "x_m"?, "y_m"?}], "beacons", "rate_hz", "note"?, "groups"?}`, then lines in order of `t_ms`
(integer milliseconds from the start of the file; at one instant truth comes first):

    {"t_ms": 18, "scanner": "Kitchen_AP", "beacon": "wearable", "rssi_dbm": -93}
    {"t_ms": 45930, "beacon": "wearable", "truth": "hall"}              truth null: in no zone
    {"t_ms": 47130, "beacon": "wearable", "truth": null, "scored": false}    from here nobody knows

*Frames* (`*.frames.jsonl`): no header, one received advertisement a line, `adv` its AD structures in hexadecimal:

    {"t_ms": 0, "scanner": "nrf52", "address": "3d:48:67:51:99:5b", "rssi_dbm": -74, "adv": "1eff0600"}

Unknown keys are skipped. Signal strengths are kept as recorded, impossible values included. A caller that wants to
go on after a bad line catches `BadTrace` and asks for the next record: a reader stays usable after raising.
"""

from collections.abc import Iterable, Iterator
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError

from wire.errors import BadTrace
from wire.messages import AnyPayload, Payload

MAX_LINE_BYTES = 1_000_000
"""Longest line read: the largest header seen has 30 kB; more is not a trace."""

TMs = Annotated[int, Field(ge=0)]
Id = Annotated[str, Field(min_length=1, max_length=200)]
Dbm = Annotated[int, Field(ge=-1000, le=1000)] | Annotated[float, Field(allow_inf_nan=False)]
"""A whole number stays one, so that a line is written as it was read; the bounds are those of no radio."""


class Scanner(Payload):
    """One receiver of the recording; `zone` null = in none, or not known; metres in the plan of the set."""

    id: Id
    zone: str | None
    x_m: float | None = None
    y_m: float | None = None


class Header(Payload):
    """First line of a sightings trace."""

    trace: Annotated[int, Field(ge=1, le=1)]
    name: str
    source: str
    licence: str
    zones: list[str]
    scanners: list[Scanner]
    beacons: list[Id]
    rate_hz: Annotated[float, Field(gt=0)] | None
    note: str = ""
    groups: dict[str, Any] = Field(default_factory=dict)


class Sighting(Payload):
    """One scanner heard one beacon."""

    t_ms: TMs
    scanner: Id
    beacon: Id
    rssi_dbm: Dbm


class Truth(Payload):
    """From `t_ms` on the beacon is in zone `truth` (null: in none); `scored` false: from here nobody knows."""

    t_ms: TMs
    beacon: Id
    truth: str | None
    scored: bool = True


class Frame(Payload):
    """One received advertisement, byte-exact."""

    t_ms: TMs
    scanner: Id
    address: str
    rssi_dbm: Dbm
    adv: Annotated[str, Field(pattern=r"^([0-9a-f]{2})*$", description="AD structures, hexadecimal, may be empty")]


Line = Sighting | Truth | Frame
_DICT: TypeAdapter[dict[str, Any]] = TypeAdapter(dict[str, Any])


class TraceReader(Iterator[Line]):
    """Iterates over the lines of either kind; `header` is None for frames.

    Raises:
        BadTrace: from the constructor when the first line is neither; from `next` at a bad line.
    """

    def __init__(self, lines: Iterable[bytes]) -> None:
        self._lines = iter(lines)
        self._line_no = 0
        self._t_ms = 0
        self._first: dict[str, Any] | None = None
        self.header: Header | None = None
        try:
            first = self._next_dict()
        except StopIteration:
            raise BadTrace(max(1, self._line_no), "the file is empty") from None
        if "trace" in first:
            self.header = _validate(Header, first, self._line_no)
        elif "adv" in first:
            self._first = first
        else:
            raise BadTrace(self._line_no, 'no trace: the first line has neither "trace" nor "adv"')

    def __next__(self) -> Line:
        """Next record, in order of time."""
        raw, self._first = (self._first, None) if self._first is not None else (self._next_dict(), None)
        line: Line
        if "truth" in raw:
            line = _validate(Truth, raw, self._line_no)
        elif self.header is None:
            line = _validate(Frame, raw, self._line_no)
        else:
            line = _validate(Sighting, raw, self._line_no)
        if line.t_ms < self._t_ms:
            raise BadTrace(self._line_no, f"t_ms {line.t_ms} comes after {self._t_ms}")
        self._t_ms = line.t_ms
        return line

    def _next_dict(self) -> dict[str, Any]:
        for raw in self._lines:
            self._line_no += 1
            if not raw.strip():
                continue
            if len(raw) > MAX_LINE_BYTES:
                raise BadTrace(self._line_no, f"{len(raw)} bytes, more than {MAX_LINE_BYTES}")
            try:
                return _DICT.validate_json(raw)
            except ValidationError as exc:
                raise BadTrace(self._line_no, "not a JSON object") from exc
        raise StopIteration


def write_line(record: Header | Line) -> bytes:
    """One line, newline included; optional fields that are absent stay absent."""
    return record.model_dump_json(exclude_defaults=True).encode() + b"\n"


def _validate(model: type[AnyPayload], raw: dict[str, Any], line_no: int) -> AnyPayload:
    try:
        return model.model_validate(raw, extra="ignore")
    except ValidationError as exc:
        first = exc.errors(include_input=False, include_url=False)[0]
        raise BadTrace(line_no, f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from exc
