"""Who is here, by listeners of another make (ESPresense, Theengs Gateway, OpenMQTTGateway)? Pure.

Such a node has no presence engine behind it: it says every few seconds how strongly it hears a beacon, without time,
number or acknowledgement. The hub decides in its place, per (edge, person), with every report as one sample:

    (nothing) --report--> followed --enough reports, strong enough--> present --silence, or weak for long--> gone
    followed --silence--> (forgotten)

Silence counts only while the node itself shows life: a node, a broker or a hub that was away proves nothing about
anybody. Where nobody can say, the visit's own deadlines lead to `unknown`.
"""

from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum
from typing import NamedTuple

from hub.core.foreign_records import ForeignAccount, ForeignTrack
from hub.core.model import Edge
from hub.core.visits import UNKNOWN_MS
from hub.core.zones import OURS, Pace
from wire.messages import BeaconKey


class Kind(StrEnum):
    """Makes of listeners that the hub understands."""

    ESPRESENSE = "espresense"
    THEENGS = "theengs"


NODE = r"[A-Za-z0-9_.-]{1,64}"
"""One level of a node's name: no wildcard of MQTT can stand in it."""

BASE = rf"{NODE}(/{NODE}){{0,2}}"
"""Up to three levels that the topics of several nodes begin with."""

NODE_PATTERNS = {Kind.ESPRESENSE: rf"^{NODE}$", Kind.THEENGS: rf"^{BASE}/{NODE}$"}
"""A node's name by kind: ESPresense's room; all that stands before `/BTtoMQTT` in Theengs' topics."""


ESPRESENSE_BASE = "espresense"
THEENGS_BASE = "home"
"""What their topics begin with unless they are told otherwise; ESPresense cannot be."""


def base_of(topics: str) -> str:
    """The base of `espresense`, `theengs` or `theengs:<base>`, as a setting names topics to hear."""
    kind, _, base = topics.partition(":")
    return base or (ESPRESENSE_BASE if kind == Kind.ESPRESENSE else THEENGS_BASE)


class Source(NamedTuple):
    """One node of another make: its kind, and its name in its topics (see NODE_PATTERNS)."""

    kind: str
    node: str


def beacon_of(text: str) -> BeaconKey:
    """The beacon written `<uuid>-<major>-<minor>`, well formed."""
    uuid, major, minor = text.rsplit("-", 2)
    return BeaconKey(uuid=uuid, major=int(major), minor=int(minor))


class Report(NamedTuple):
    """A node hears a beacon of ours at this level, dBm."""

    source: Source
    beacon: BeaconKey
    rssi_dbm: float


class NodeStatus(NamedTuple):
    """A node came, or its last will says that it went."""

    source: Source
    online: bool


class Life(NamedTuple):
    """How long a node has shown life without a break: Unix ms of the first and the last sign."""

    since_ms: int
    last_ms: int


class Gate(NamedTuple):
    """How many reports let somebody in, within which time, and the shortest silence that means gone."""

    reports: int
    within_ms: int
    silence_ms: int


GATES = {Kind.ESPRESENSE: Gate(2, 20_000, 20_000), Kind.THEENGS: Gate(3, 30_000, 60_000)}
"""Two levels that ESPresense has smoothed, or three single frames, as at our own edges. ESPresense reports whoever
stands still every 5 s: four times that. Theengs Gateway scans 7 s in 12, OpenMQTTGateway 10 s in up to 56: more than
one of its pauses."""

PACES = {Kind.ESPRESENSE: Pace(30_000, 8_000, 0), Kind.THEENGS: Pace(30_000, 8_000, 2_000)}
"""Zones by such nodes. Stale after six of the 5 s in which they report: 10 s as for our edges gave 0.55 right and ten
times the changes on a recording of eight nodes, 30 s 0.70. The hold lies above 5 s, so that no single report moves
anybody. ESPresense has smoothed over 15 s already, so its last word counts alone; Theengs passes on single frames."""

ENTER_DBM = -80.0
"""Level that lets somebody in, dBm, unless set otherwise: that of our own edges."""

WEAK_DB = 8.0
WEAK_MS = 30_000
"""So far below the level that lets in, for so long (six reports), is outside: who stands at the door must not flap."""

SILENCE_MAX_MS = 180_000
"""Longest silence that means gone, ms: below `visits.SILENCE_MS`, or the visit would be `unknown` before."""

GAP_SHARE = 0.95
GAP_FACTOR = 4
"""Silence means gone after 4 × the 95th percentile of the pauses between reports, as at our own edges."""

GAP_MIN_MS = 1_000
"""Shorter pauses, ms, lie within one scan of Theengs and say nothing about its rhythm. Pauses that would have meant
gone are an outage of the node or the hub, and say nothing about it either."""

GAPS_MAX = 16
"""Pauses remembered per track, to learn its rhythm: 80 s of a steady node, and a small row."""

BREAK_MS = 60_000
"""A node silent for longer was away, ms: four of ESPresense's telemetry messages (15 s)."""

LOOK_AGAIN_MS = 5_000
"""How often an overdue track of a silent node is looked at, ms: exits come no later after the node's next word."""

MAX_TRACKS = 100_000
"""Most tracks at once in a deployment: 50 MB of rows. Beyond it new people are not followed; their reports count as
lost."""

ERROR_MS = 5_000
"""Error stated for a report dated on receipt, ms: ESPresense holds back for up to 5 s what has hardly moved."""


class Fact(NamedTuple):
    """What a report, or its absence, means: enter | sample | exit, and when it was so, Unix ms."""

    kind: str
    at_ms: int


def source_of(edge: Edge) -> Source | None:
    """The node behind a foreign edge; None for an edge of ours."""
    if edge.source_kind is None or edge.source_node is None:
        return None
    return Source(edge.source_kind, edge.source_node)


def pace_of(edge: Edge) -> Pace:
    """How this edge speaks about zones."""
    return OURS if edge.source_kind is None else PACES[Kind(edge.source_kind)]


def hear(
    track: ForeignTrack | None, key: tuple[str, str, str], report: Report, at_ms: int, enter_dbm: float
) -> tuple[ForeignTrack, Fact]:
    """One report, received at `at_ms`; `key` is (tenant, edge, profile). A track is never earlier than it was."""
    kind = Kind(report.source.kind)
    gate = GATES[kind]
    if track is None or at_ms - track.heard_at_ms >= UNKNOWN_MS:  # the visit may be closed: enter anew
        track = ForeignTrack(*key, False, [], [], None, at_ms, at_ms)
    at_ms = max(at_ms, track.heard_at_ms)
    gap_ms = at_ms - track.heard_at_ms
    if GAP_MIN_MS <= gap_ms <= silence_ms(track, kind):
        track = replace(track, gaps=[*track.gaps, gap_ms][-GAPS_MAX:])
    recent = [one for one in track.recent if one[0] > at_ms - gate.within_ms]
    recent = [*recent, [at_ms, report.rssi_dbm]][-gate.reports :]
    track = replace(track, recent=recent, heard_at_ms=at_ms)
    if track.present:
        track, what = _weigh(track, report.rssi_dbm, at_ms, enter_dbm)
    elif len(recent) == gate.reports and sum(one[1] for one in recent) / len(recent) >= enter_dbm:
        track, what = replace(track, present=True, weak_since_ms=None), "enter"
    else:
        what = "sample"
    return replace(track, due_ms=at_ms + silence_ms(track, kind)), Fact(what, at_ms)


def _weigh(track: ForeignTrack, rssi_dbm: float, at_ms: int, enter_dbm: float) -> tuple[ForeignTrack, str]:
    """Somebody present: weak for long is gone. What was heard before does not count towards the next entry."""
    if rssi_dbm >= enter_dbm - WEAK_DB:
        return replace(track, weak_since_ms=None), "sample"
    if track.weak_since_ms is None:
        return replace(track, weak_since_ms=at_ms), "sample"
    if at_ms - track.weak_since_ms < WEAK_MS:
        return track, "sample"
    return replace(track, present=False, weak_since_ms=None, recent=[]), "exit"


def look(track: ForeignTrack, kind: Kind, life: Life | None, now_ms: int) -> tuple[ForeignTrack | None, Fact | None]:
    """A track whose deadline has passed: what is left of it (None: nothing), and whether the person went.

    `life` is what the node, of this `kind`, is known to have shown while the hub listened and everything received was
    applied.
    """
    if not track.present:
        return None, None
    if witnessed_ms(track, life) >= silence_ms(track, kind):
        return None, Fact("exit", track.heard_at_ms)
    if now_ms - track.heard_at_ms >= UNKNOWN_MS:
        return None, None  # the visit has been unknown for long; it ends by itself
    return replace(track, due_ms=now_ms + LOOK_AGAIN_MS), None


def silence_ms(track: ForeignTrack, kind: Kind) -> int:
    """How long a silence means gone, for this person at this node, ms."""
    shortest_ms = GATES[kind].silence_ms
    if len(track.gaps) < 2:
        return shortest_ms
    ordered = sorted(track.gaps)
    learned_ms = GAP_FACTOR * ordered[min(len(ordered) - 1, int(GAP_SHARE * len(ordered)))]
    return int(min(max(shortest_ms, learned_ms), SILENCE_MAX_MS))


def witnessed_ms(track: ForeignTrack, life: Life | None) -> int:
    """How much of the silence since the last report the node itself vouches for, ms."""
    return 0 if life is None else max(0, life.last_ms - max(life.since_ms, track.heard_at_ms))


def prolong(life: Life | None, at_ms: int) -> Life:
    """Another sign of life; after a break it begins anew."""
    if life is None or at_ms - life.last_ms > BREAK_MS:
        return Life(at_ms, at_ms)
    return life._replace(last_ms=max(at_ms, life.last_ms))


def new_account(tenant: str, edge: str, at_ms: int) -> ForeignAccount:
    """The empty account of a foreign edge."""
    return ForeignAccount(tenant, edge, 0, 0, 0, 0, 0, "hub", at_ms, at_ms)


def accounted(row: ForeignAccount) -> bool:
    """Whether every report received stands in exactly one of the row's accounts."""
    parts: Sequence[int] = (row.committed, row.consent_refused, row.identity_refused, row.lost)
    return min(parts) >= 0 and row.received == sum(parts)
