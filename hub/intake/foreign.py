"""Messages of listeners of another make: ESPresense, and Theengs Gateway or OpenMQTTGateway. QoS 0, without time.

    espresense/devices/iBeacon:<uuid>-<major>-<minor>/<node>    {"id", "rssi", …}
    espresense/rooms/<node>/status                              online | offline (last will)
    espresense/rooms/<node>/telemetry                           every 15 s: a sign of life
    <base>/<gateway>/BTtoMQTT/<address>                         {"uuid", "major", "minor", "rssi", …} | raw frame
    <base>/<gateway>/LWT                                        online | offline (last will)

These nodes tell of every device they hear. What is not an iBeacon under our prefixes is dropped here, unread where
that is possible, and only counted; hardware addresses and names are never taken out of a message at all.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from hub.core.foreign import ESPRESENSE_BASE, NODE, Kind, Life, NodeStatus, Report, Source, base_of, prolong
from wire import ibeacon
from wire.errors import BadFrame, BadMessage, BadTopic, RemoteFault
from wire.messages import U16, BeaconKey, Uuid

MAX_BYTES = 8_192
"""Largest message read, bytes: ESPresense's documents have 2 KiB at most, those of Theengs less."""

MAX_NODES = 4_096
"""Nodes whose signs of life are remembered: about 1 MB. Beyond it nobody is said to have left a further node."""

NODES_OWN = bytes.fromhex("e5ca1adef007ba110000000000000000")
"""UUID that ESPresense nodes advertise themselves."""

COUNTED = (
    "reports", "statuses", "signs", "not_ours", "unreadable", "overrun", "retained_ignored", "nodes_over_cap",
)  # fmt: skip

M = TypeVar("M", bound=BaseModel)

_NODE = re.compile(NODE)
_ID = re.compile(r"iBeacon:([0-9a-f-]{36})-(0|[1-9][0-9]{0,4})-(0|[1-9][0-9]{0,4})")
_STATES = {b"online": True, b"offline": False}


class Ours(NamedTuple):
    """What is ours: the fleet prefixes, 4 bytes each, and beacons that ESPresense knows by another name."""

    prefixes: tuple[bytes, ...]
    aliases: Mapping[str, BeaconKey]


class Said(NamedTuple):
    """A message of a node; `news` None: no more than a sign of life. `private`: it was about a device not of ours."""

    source: Source
    news: Report | NodeStatus | None
    private: bool = False


class _Key(BaseModel):
    """A beacon, strictly: a number that came as text is refused."""

    uuid: Uuid
    major: U16
    minor: U16


class _Level(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore")

    rssi: Annotated[float, Field(gt=-127, lt=0, allow_inf_nan=False)]


class _Espresense(_Level):
    id: str | None = None


_OBJECT: TypeAdapter[dict[str, Any]] = TypeAdapter(dict[str, Any])


def read_espresense(topic: str, payload: bytes, ours: Ours) -> Said:
    """Read a message under `espresense/`.

    Raises:
        BadTopic: not one of the topics above.
        BadMessage: it claims a beacon of ours, or a status, and is not what it claims to be.
    """
    match topic.split("/"):
        case [_, "rooms", node, "status"]:
            source = _source(Kind.ESPRESENSE, node)
            return Said(source, NodeStatus(source, _state(payload)))
        case [_, "rooms", node, "telemetry"]:
            return Said(_source(Kind.ESPRESENSE, node), None)
        case [_, "devices", name, node]:
            source = _source(Kind.ESPRESENSE, node)
            beacon = _named(name, ours)
            if beacon is None:
                return Said(source, None, private=True)
            body = _read(_Espresense, payload)
            if body.id is not None and body.id != name:
                raise BadMessage("id: not that of the topic")
            return Said(source, Report(source, beacon, body.rssi))
    raise BadTopic("not a topic of ESPresense")


def read_theengs(base: str, topic: str, payload: bytes, ours: Ours) -> Said:
    """Read a message under `<base>/`; the address in its topic is passed over: it changes, the beacon counts.

    Raises:
        BadTopic: not one of the topics above.
        BadMessage: it holds a prefix of ours, or a status, and is not what it claims to be.
    """
    match topic.removeprefix(f"{base}/").split("/"):
        case [gateway, "LWT"]:
            source = _source(Kind.THEENGS, gateway, base)
            return Said(source, NodeStatus(source, _state(payload)))
        case [gateway, "BTtoMQTT", _]:
            source = _source(Kind.THEENGS, gateway, base)
            text = payload.lower()
            if not any(prefix.hex().encode() in text for prefix in ours.prefixes):
                return Said(source, None, private=True)  # others' devices are not even parsed
            body = _object(payload)
            beacon = _decoded(body)
            if not _is_ours(beacon, ours):
                return Said(source, None, private=True)
            return Said(source, Report(source, beacon, _checked(_Level, {"rssi": body.get("rssi")}).rssi))
    raise BadTopic("not a topic of Theengs")


def _named(name: str, ours: Ours) -> BeaconKey | None:
    """The beacon an id of ESPresense stands for; None when it is nothing of ours."""
    alias = ours.aliases.get(name)
    if alias is not None:
        return alias
    if not name.startswith("iBeacon:"):
        return None
    found = _ID.fullmatch(name)
    if found is None:
        raise BadMessage("id: not iBeacon:<uuid>-<major>-<minor>")
    beacon = _key(found[1], int(found[2]), int(found[3]))
    return beacon if _is_ours(beacon, ours) else None


def _decoded(body: dict[str, Any]) -> BeaconKey:
    """The beacon in a body of Theengs. Older decoders look at length and company only: a raw frame is read again."""
    raw, uuid = body.get("manufacturerdata"), body.get("uuid")
    if raw is not None:
        beacon = _raw(raw)
        if uuid is not None and beacon != _plain(body):
            raise BadMessage("uuid, major, minor: not those of manufacturerdata")
        return beacon
    if body.get("model_id", "IBEACON") != "IBEACON" or body.get("mfid", "4c00") != "4c00":
        raise BadMessage("model_id: not IBEACON")
    return _plain(body)


def _plain(body: dict[str, Any]) -> BeaconKey:
    uuid = body.get("uuid")
    if not isinstance(uuid, str) or not re.fullmatch(r"[0-9a-fA-F]{32}", uuid):
        raise BadMessage("uuid: not 32 hexadecimal digits")
    major, minor = _unsigned(body.get("major")), _unsigned(body.get("minor"))
    return _key(ibeacon.format_uuid(bytes.fromhex(uuid)), major, minor)


def _unsigned(number: Any) -> Any:
    """The decoder takes the two bytes for a signed number: 51,750 is told as -13,786. Whatever else stays as it is."""
    signed = isinstance(number, int) and not isinstance(number, bool) and -0x8000 <= number < 0
    return number + 0x10000 if signed else number


def _raw(raw: Any) -> BeaconKey:
    if not isinstance(raw, str) or not re.fullmatch(r"4c00([0-9a-f]{2})+", raw, re.IGNORECASE):
        raise BadMessage("manufacturerdata: not hexadecimal data of Apple")
    try:
        beacon = ibeacon.decode(bytes.fromhex(raw)[2:])
    except BadFrame as exc:
        raise BadMessage(f"manufacturerdata: {exc}") from exc
    return _key(ibeacon.format_uuid(beacon.uuid), beacon.major, beacon.minor)


def _key(uuid: str, major: Any, minor: Any) -> BeaconKey:
    found = _checked(_Key, {"uuid": uuid, "major": major, "minor": minor})
    return BeaconKey(uuid=found.uuid, major=found.major, minor=found.minor)


def _is_ours(beacon: BeaconKey, ours: Ours) -> bool:
    uuid = ibeacon.parse_uuid(beacon.uuid)
    return uuid != NODES_OWN and uuid[: ibeacon.PREFIX_BYTES] in ours.prefixes


def _source(kind: Kind, node: str, base: str | None = None) -> Source:
    if not _NODE.fullmatch(node):
        raise BadTopic(f"the name of a node of {kind} must be 1 to 64 of A-Z a-z 0-9 _ . -")
    return Source(kind.value, node if base is None else f"{base}/{node}")


def _state(payload: bytes) -> bool:
    online = _STATES.get(payload.lower())
    if online is None:
        raise BadMessage("status: neither online nor offline")
    return online


def _object(payload: bytes) -> dict[str, Any]:
    _bounded(payload)
    try:
        return _OBJECT.validate_json(payload)
    except ValidationError as exc:
        raise BadMessage("not a JSON object") from exc


def _read(model: type[M], payload: bytes) -> M:
    _bounded(payload)
    try:
        return model.model_validate_json(payload)
    except ValidationError as exc:
        raise BadMessage(_why(exc)) from exc


def _checked(model: type[M], found: dict[str, Any]) -> M:
    try:
        return model.model_validate(found, strict=True)
    except ValidationError as exc:
        raise BadMessage(_why(exc)) from exc


def _bounded(payload: bytes) -> None:
    if len(payload) > MAX_BYTES:
        raise BadMessage(f"{len(payload)} bytes, more than {MAX_BYTES}")


def _why(exc: ValidationError) -> str:
    """Where and what, never the value."""
    first = exc.errors(include_input=False, include_url=False, include_context=False)[0]
    return f"{'.'.join(map(str, first['loc'])) or 'payload'}: {first['msg']}"[:200]


class Listeners:
    """The foreign topics of a hub: what to subscribe, how to read it, and which nodes are alive.

    Args:
        topics: settings as `espresense`, `theengs` (base `home`) or `theengs:<base>`.
        ours: what is ours.

    `counts` only grow: reports (of beacons of ours), statuses, signs (of life alone), not_ours (dropped at once),
    unreadable, overrun (the hub was too busy for them), retained_ignored, nodes_over_cap. One thread calls; `lives`
    may be read by another.
    """

    def __init__(self, topics: Sequence[str], ours: Ours, max_nodes: int = MAX_NODES) -> None:
        self.counts = Counter(dict.fromkeys(COUNTED, 0))
        self.lives: dict[Source, Life] = {}
        self._ours, self._max_nodes = ours, max_nodes
        self._espresense = Kind.ESPRESENSE in topics
        self._bases = tuple(base_of(topic) for topic in topics if topic.startswith(Kind.THEENGS))

    @property
    def filters(self) -> tuple[tuple[str, int], ...]:
        """What to subscribe to, with its QoS; none overlaps another, or one of doorchime's own."""
        found: list[tuple[str, int]] = []
        if self._espresense:
            root = ESPRESENSE_BASE
            found += [(f"{root}/devices/+/+", 0), (f"{root}/rooms/+/status", 1), (f"{root}/rooms/+/telemetry", 0)]
        for base in self._bases:
            found += [(f"{base}/+/BTtoMQTT/+", 0), (f"{base}/+/LWT", 1)]
        return tuple(found)

    def claims(self, topic: str) -> bool:
        """Whether a topic is one of theirs."""
        return (self._espresense and topic.startswith(f"{ESPRESENSE_BASE}/")) or self._base(topic) is not None

    def read(self, topic: str, payload: bytes, retained: bool) -> Said | None:
        """What a message says; None when it is nothing to act on. Counts everything.

        Raises:
            RemoteFault: it cannot be read.
        """
        base = self._base(topic)
        try:
            if base is None:
                said = read_espresense(topic, payload, self._ours)
            else:
                said = read_theengs(base, topic, payload, self._ours)
        except RemoteFault:
            self.counts["unreadable"] += 1
            raise
        if said.news is None:
            self.counts["not_ours" if said.private else "signs"] += 1
        elif isinstance(said.news, Report):
            if retained:  # old news must never become an effect
                self.counts["retained_ignored"] += 1
                return None
            self.counts["reports"] += 1
        else:
            self.counts["statuses"] += 1
        return said

    def note_life(self, source: Source, at_ms: int) -> None:
        """This node said something just now."""
        life = self.lives.get(source)
        if life is None and len(self.lives) >= self._max_nodes:
            self.counts["nodes_over_cap"] += 1
            return
        self.lives[source] = prolong(life, at_ms)

    def note_gap(self, source: Source) -> None:
        """A message of this node was lost, or the node is gone: silence begins to count anew."""
        self.lives.pop(source, None)

    def note_deafness(self) -> None:
        """The line to the broker broke: nobody's silence means anything."""
        self.lives.clear()

    def _base(self, topic: str) -> str | None:
        return next((base for base in self._bases if topic.startswith(f"{base}/")), None)
