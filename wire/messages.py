"""One frozen model per MQTT payload, version 1. JSON, UTF-8.

Strict writers, tolerant readers. A model forbids unknown fields when our own code builds it, so nothing undeclared
is ever written. `read` accepts and *counts* fields it does not know, and events of kinds it does not know become
`Unread`, so that a newer sender loses nothing at an older hub. `v` is the major version; any other is refused.

Instants: `*_mono_ms` is CLOCK_BOOTTIME of the named boot, `*_at_ms` Unix milliseconds. Only the hub turns one
into the other.
"""

import re
from dataclasses import fields
from typing import Annotated, Any, Literal, NamedTuple, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from wire.errors import BadMessage
from wire.topics import LEVEL_MAX_CHARS

VERSION = 1
"""Major version of this contract; it also stands in the topic."""

MAX_EVENTS = 200
"""Most events in one presence message: 200 × about 250 bytes stays below the broker's 64 KiB packet limit."""

MAX_PAYLOAD_BYTES = 65_536
"""Largest payload any program of ours accepts; equal to `max_packet_size` of the shipped broker configuration."""

MAX_SEQ = 2**53 - 1
"""Largest sequence number: what every JSON reader holds exactly."""

Level = Annotated[str, Field(pattern=r"^[a-z0-9-]+$", min_length=1, max_length=LEVEL_MAX_CHARS)]
Seq = Annotated[int, Field(ge=1, le=MAX_SEQ)]
Count = Annotated[int, Field(ge=0, le=MAX_SEQ)]
Mono = Annotated[int, Field(ge=0, le=MAX_SEQ, description="ms, CLOCK_BOOTTIME of the boot named in the message")]
UnixMs = Annotated[int, Field(ge=0, le=MAX_SEQ, description="ms since 1970-01-01 UTC")]
Uuid = Annotated[str, Field(pattern=r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$")]
U16 = Annotated[int, Field(ge=0, le=65_535)]
Dbm = Annotated[float, Field(ge=-127, le=20, allow_inf_nan=False, description="dBm")]


_NAME = re.compile(r"[a-z_]{1,32}\Z")  # a field of ours; keys of a sender's own dict may say anything


class Payload(BaseModel):
    """Base of every model here."""

    model_config = ConfigDict(frozen=True, extra="forbid")


# What a message holds by the dozen is a frozen dataclass with slots, checked as the models are: a model is four times
# as large (1.8 KB per event), and a group of 2,000 of them no longer fits a processor's cache.
_STRICT = ConfigDict(extra="forbid")


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class BeaconKey:
    """Which beacon: the identifying fields of its frame, nothing else."""

    uuid: Uuid
    major: U16
    minor: U16


class ClockStamp(Payload):
    """What the edge knows of wall time in this boot."""

    source: Annotated[str, Field(max_length=32, description="who disciplines the clock, `none` if nobody")]
    offset_ms: Annotated[
        int, Field(ge=-MAX_SEQ, le=MAX_SEQ, description="Unix ms minus boot-clock ms, as the edge believes it")
    ]
    error_ms: Annotated[int, Field(ge=0, le=MAX_SEQ, description="bound of the error of offset_ms while synced")]
    synced: bool


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class PresenceEvent:
    """A beacon came, is heard, went, or can no longer be judged."""

    seq: Seq
    kind: Literal["enter", "sample", "exit", "unknown"]
    beacon: BeaconKey
    observed_mono_ms: Annotated[Mono, Field(description="enter: gate satisfied; exit: last heard; else: sent")]
    first_mono_ms: Annotated[Mono, Field(description="first advertisement this event sums up")]
    last_mono_ms: Annotated[Mono, Field(description="last advertisement this event sums up")]
    rssi_dbm: Annotated[Dbm, Field(description="plain mean of the advertisements summed up")]
    sd_db: Annotated[float, Field(ge=0, allow_inf_nan=False, description="their standard deviation, dB")]
    n: Annotated[int, Field(ge=0, le=1_000_000, description="how many advertisements")]
    span_ms: Annotated[int, Field(ge=0, le=MAX_SEQ, description="time they cover, ms")]


class LostEvent(Payload):
    """Covers `first_seq … seq`, which the edge had to drop. Itself never dropped; neighbours merge."""

    seq: Seq
    kind: Literal["lost"]
    first_seq: Seq
    samples: Count
    enters: Count
    exits: Count
    reason: Annotated[str, Field(pattern=r"^[a-z_]{1,32}$", description="overflow, age, refused, …")]


def _foreign(kind: str) -> str:
    if kind in _READERS:
        raise ValueError("is a kind of ours: its fields must be right")
    return kind


class Unread(Payload):
    """An event of a kind this reader does not know: its sequence is consumed, the rest ignored."""

    seq: Seq
    kind: Annotated[str, AfterValidator(_foreign)]


_PRESENCE = TypeAdapter(PresenceEvent)
_LOST = TypeAdapter(LostEvent)
_UNREAD = TypeAdapter(Unread)
_READERS: dict[str, TypeAdapter[Any]] = {
    "enter": _PRESENCE, "sample": _PRESENCE, "exit": _PRESENCE, "unknown": _PRESENCE, "lost": _LOST,
}  # fmt: skip

EVENT_FIELDS = frozenset(one.name for one in fields(PresenceEvent))
BEACON_FIELDS = frozenset(one.name for one in fields(BeaconKey))

Event = Annotated[
    Annotated[PresenceEvent | LostEvent, Discriminator("kind")] | Unread, Field(union_mode="left_to_right")
]
"""Told apart by `kind` without any Python: a callable discriminator would make a dict of every event first."""


class Presence(Payload):
    """`…/presence`: a batch of events of one boot, in sequence order."""

    v: Literal[1]
    edge: Level
    boot: Level
    oldest_seq: Annotated[Seq, Field(description="oldest sequence of this boot that the outbox still holds")]
    sent_mono_ms: Annotated[Mono | None, Field(description="null when the batch is of an earlier boot")]
    sent_at_ms: Annotated[UnixMs, Field(description="edge's wall clock at sending; a hint, never a decision")]
    clock: ClockStamp
    events: Annotated[list[Event], Field(max_length=MAX_EVENTS)]


class PresenceEnvelope(Payload):
    """`…/presence` when its events do not all validate: the envelope alone, each event still raw."""

    v: Literal[1]
    edge: Level
    boot: Level
    oldest_seq: Seq
    sent_mono_ms: Mono | None
    sent_at_ms: UnixMs
    clock: ClockStamp
    events: Annotated[list[dict[str, Any]], Field(max_length=MAX_EVENTS)]


class Ack(Payload):
    """`…/ack`: every sequence of `boot` up to `upto` is committed at the hub; 0 = nothing yet."""

    v: Literal[1]
    boot: Level
    upto: Annotated[int, Field(ge=0, le=MAX_SEQ)]


class Status(Payload):
    """`…/status`, retained: birth, and the last will that the broker publishes."""

    v: Literal[1]
    edge: Level
    boot: Level
    state: Literal["online", "offline"]
    version: Annotated[str, Field(max_length=32, description="of the agent's software")]


class Telemetry(Payload):
    """`…/telemetry`, every 30 s: counters since this boot, and gauges."""

    v: Literal[1]
    edge: Level
    boot: Level
    mono_ms: Mono
    health: Literal["ok", "degraded"]
    reasons: list[Annotated[str, Field(pattern=r"^[a-z_]{1,32}$")]] = Field(
        default_factory=list, max_length=8, exclude_if=lambda words: not words, description="why it is degraded"
    )
    counters: Annotated[dict[str, Count], Field(max_length=64)]
    gauges: Annotated[dict[str, Annotated[float, Field(allow_inf_nan=False)]], Field(max_length=64)]


class EdgeConfig(Payload):
    """`…/config`, retained: the settings of an edge that the hub may change while it runs."""

    v: Literal[1]
    version: Annotated[int, Field(ge=1, description="grows with every change")]
    settings: Annotated[dict[str, Any], Field(max_length=64, description="validated by the edge's own class")]


class ConfigAck(Payload):
    """`…/config/ack`: what became of a configuration."""

    v: Literal[1]
    version: Annotated[int, Field(ge=1)]
    outcome: Literal["applied", "refused", "rolled_back"]
    reason: Annotated[str, Field(max_length=500)] = ""


class Occupancy(Payload):
    """`…/occupancy`, retained: people per zone, numbers only."""

    v: Literal[1]
    store: Level
    at_ms: UnixMs
    total: Annotated[int, Field(ge=0)]
    zones: Annotated[dict[str, int], Field(max_length=256)]


class Push(Payload):
    """`app/<device>/push`: one offer; `curve` is what `wire/curve.py` reads, so the phone draws the decay itself."""

    v: Literal[1]
    grant: Level
    title: Annotated[str, Field(max_length=120)]
    body: Annotated[str, Field(max_length=500)]
    code: Annotated[str, Field(max_length=64, description="what the till scans")]
    store: Annotated[Level, Field(description="where it can be redeemed")]
    issued_at_ms: UnixMs
    expires_at_ms: Annotated[UnixMs, Field(description="absolute deadline; show nothing after it")]
    curve: dict[str, Any]


AnyPayload = TypeVar("AnyPayload", bound=Payload)


class Read(NamedTuple):
    """What `read_presence` found.

    `message` is a `Presence` whose events all validated; `bad` holds `(seq, raw event, reason)` of each event that
    did not but whose sequence is known; `unknown_fields` counts fields of a newer minor version.
    """

    message: Presence
    bad: list[tuple[int, dict[str, Any], str]]
    unknown_fields: int


def write(message: Payload) -> bytes:
    """The JSON bytes of a message: what was declared, exactly."""
    return message.__pydantic_serializer__.to_json(message)


def read(model: type[AnyPayload], payload: bytes) -> AnyPayload:
    """Read `payload` tolerantly: unknown fields are dropped.

    Raises:
        BadMessage: too large, not JSON, or not this model.
    """
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise BadMessage(f"{len(payload)} bytes, more than {MAX_PAYLOAD_BYTES}")
    try:
        return model.model_validate_json(payload, extra="ignore")
    except ValidationError as exc:
        raise BadMessage(_reason(exc)) from exc


def read_presence(payload: bytes) -> Read:
    """Read a presence message; one bad event spoils only itself.

    Raises:
        BadMessage: the envelope itself cannot be read, or an event has no usable `seq`.
    """
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise BadMessage(f"{len(payload)} bytes, more than {MAX_PAYLOAD_BYTES}")
    try:
        return Read(Presence.model_validate_json(payload), [], 0)  # what our own version writes: nothing to count
    except ValidationError:
        pass
    try:
        envelope = PresenceEnvelope.model_validate_json(payload, extra="allow")
    except ValidationError as exc:
        raise BadMessage(_reason(exc)) from exc
    unknown = len(envelope.__pydantic_extra__ or ()) + len(envelope.clock.__pydantic_extra__ or ())
    good: list[Any] = []
    bad: list[tuple[int, dict[str, Any], str]] = []
    for raw in envelope.events:
        kind = raw.get("kind")
        reader = _READERS.get(kind, _UNREAD) if isinstance(kind, str) else _UNREAD
        try:
            good.append(reader.validate_python(raw, extra="ignore"))
        except ValidationError as exc:
            seq = raw.get("seq")
            if isinstance(seq, bool) or not isinstance(seq, int) or not 1 <= seq <= MAX_SEQ:
                raise BadMessage(f"an event has no usable seq: {_reason(exc)}") from exc
            bad.append((seq, raw, _reason(exc)))
        else:
            unknown += _count_unknown(good[-1], raw)
    head = {name: getattr(envelope, name) for name in Presence.model_fields if name != "events"}
    return Read(Presence.model_construct(**head, events=good), bad, unknown)


def _count_unknown(event: Any, raw: dict[str, Any]) -> int:
    """Fields of an event that a newer minor version has added."""
    if isinstance(event, PresenceEvent):
        return len(raw.keys() - EVENT_FIELDS) + len(raw["beacon"].keys() - BEACON_FIELDS)
    return len(raw.keys() - LostEvent.model_fields.keys()) if isinstance(event, LostEvent) else 0


def _reason(exc: ValidationError) -> str:
    """Where and what, never the value: a payload may hold personal data and this text is logged."""
    first = exc.errors(include_input=False, include_url=False, include_context=False)[0]
    where = ".".join(str(part) if isinstance(part, int) or _NAME.match(part) else "…" for part in first["loc"])
    return f"{where or 'payload'}: {first['msg']}"[:300]
