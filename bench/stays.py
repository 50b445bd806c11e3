"""What the whole path makes of a corpus: edge engine → presence messages → the hub's use cases → visits; and its judge.

Virtual time throughout. The hub is the real one, use cases and core on the memory store; everybody gave consent.
"""

from collections.abc import Iterator, Sequence
from itertools import count
from typing import NamedTuple, Protocol

from edge.core.presence import Fact
from hub.core.identity import BEACON, identity_hash
from hub.core.model import Consent, Edge, Identity, Profile, Shop, Visit, Zone
from hub.core.states import Purpose
from hub.stores.memory import MemoryStore
from hub.usecases import deadlines, presence
from hub.usecases.arrivals import MANY, Rules
from simulators.corpus import Corpus, Stay
from wire.ibeacon import format_uuid
from wire.messages import BeaconKey, ClockStamp, Presence, PresenceEvent, read_presence, write

TURN_MS = 1_000
"""The edge's facts of this much virtual time make a message, ms: the sample interval, so nothing waits longer."""

BATCH = 50
"""Most events in one message: the edge's default."""

ENDS_S = 60.0
"""A visit is covered when both its ends are found within this, s: half the hub's grace."""

BOOTED_AT_MS = 1_790_942_400_000
"""Boot clock 0 of the edge in Unix ms."""

FLEET = bytes.fromhex("d0c41e02") + bytes(12)
"""UUID of everybody; people differ in major and minor, as in one fleet."""


class Engine(Protocol):
    """What decides at the edge: `edge.core.presence.PresenceEngine`, or a rival."""

    def hear(self, key: bytes, rssi_dbm: float, at_ms: int) -> list[Fact]:
        """One advertisement."""

    def advance(self, now_ms: int) -> list[Fact]:
        """Everything whose time has come."""

    def due_ms(self) -> int | None:
        """When `advance` may have work."""


class Found(NamedTuple):
    """A visit that somebody believes in."""

    who: int
    from_ms: int
    to_ms: int


class Verdict(NamedTuple):
    """How well the visits found cover the truth.

    `exact`: true visits found as exactly one visit, its own, with both ends within ENDS_S. The others are `missed`,
    `split` into several, `merged` with another one, or `frayed`: one visit with an end too far off. `walkbys_taken`:
    visits found that are nobody's.
    """

    exact: int
    missed: int
    split: int
    merged: int
    frayed: int
    walkbys_taken: int


def key_of(who: int) -> bytes:
    """The 20 identifying bytes of a person of the corpus."""
    return FLEET + who.to_bytes(4, "big")


def judge(corpus: Corpus, found: Sequence[Found]) -> Verdict:
    """Hold `found` against the truth of the corpus."""
    overlaps = {visit: [one for one in found if _meet(visit, one)] for visit in corpus.visits}
    owners = {one: sum(one in mine for mine in overlaps.values()) for one in found}
    counts = dict.fromkeys(("exact", "missed", "split", "merged", "frayed"), 0)
    for visit, mine in overlaps.items():
        counts[_fate(visit, mine, owners)] += 1
    return Verdict(**counts, walkbys_taken=sum(not owners[one] for one in found))


def engine_visits(corpus: Corpus, engine: Engine) -> list[Found]:
    """The visits of an engine alone, without a hub: from enter to exit."""
    entered_ms: dict[bytes, int] = {}
    found = []
    for _, facts in facts_of(corpus, engine):
        for fact in facts:
            if fact.kind == "enter":
                entered_ms[fact.key] = fact.observed_mono_ms
            elif fact.kind == "exit":
                who = int.from_bytes(fact.key[16:], "big")
                found.append(Found(who, entered_ms.pop(fact.key), fact.observed_mono_ms))
    return found


class Delays(NamedTuple):
    """When an engine says what is true, s: enters after the begin of a visit, exits after its end."""

    enters_s: list[float]
    exits_s: list[float]


def delays(corpus: Corpus, engine: Engine) -> Delays:
    """How long the news takes, at the edge; of every visit that the engine sees, first enter and last exit."""
    enters: dict[int, list[int]] = {}
    exits: dict[int, list[int]] = {}
    for turn_ms, facts in facts_of(corpus, engine):
        for fact in facts:
            who = int.from_bytes(fact.key[16:], "big")
            if fact.kind == "enter":
                enters.setdefault(who, []).append(fact.observed_mono_ms)
            elif fact.kind == "exit":
                exits.setdefault(who, []).append(turn_ms)
    found = Delays([], [])
    for visit in corpus.visits:
        mine = [at_ms for at_ms in enters.get(visit.who, ()) if visit.from_ms <= at_ms <= visit.to_ms]
        if not mine:
            continue
        found.enters_s.append((mine[0] - visit.from_ms) / 1000)
        left_ms = next((at_ms for at_ms in exits.get(visit.who, ()) if at_ms > mine[-1]), None)
        if left_ms is not None:
            found.exits_s.append((left_ms - visit.to_ms) / 1000)
    return found


def _fate(visit: Stay, mine: list[Found], owners: dict[Found, int]) -> str:
    if not mine:
        return "missed"
    if len(mine) > 1:
        return "split"
    if owners[mine[0]] > 1:
        return "merged"
    apart_ms = max(abs(mine[0].from_ms - visit.from_ms), abs(mine[0].to_ms - visit.to_ms))
    return "exact" if apart_ms <= ENDS_S * 1000 else "frayed"


def _meet(visit: Stay, one: Found) -> bool:
    return visit.who == one.who and visit.from_ms <= one.to_ms and one.from_ms <= visit.to_ms


def facts_of(corpus: Corpus, engine: Engine) -> Iterator[tuple[int, list[Fact]]]:
    """What the engine says turn by turn, with the instant at the end of each turn."""
    adverts = iter(corpus.adverts)
    advert = next(adverts, None)
    end_ms = round(corpus.law.span_s * 1000)
    turn_ms = 0
    while advert is not None or turn_ms <= end_ms or engine.due_ms() is not None:
        turn_ms += TURN_MS
        facts: list[Fact] = []
        while advert is not None and advert.at_ms < turn_ms:
            facts += engine.hear(key_of(advert.who), advert.rssi_dbm, advert.at_ms)
            advert = next(adverts, None)
        facts += engine.advance(turn_ms)
        yield turn_ms, facts


def hub_visits(corpus: Corpus, engine: Engine) -> list[Found]:
    """The visits that the hub ends up with."""
    hub = _Hub(corpus.law.people)
    turn_ms = 0
    for turn_ms, facts in facts_of(corpus, engine):
        hub.take(facts, turn_ms)
        hub.sweep(turn_ms)
    while (due_ms := hub.due_ms()) is not None:
        hub.sweep(due_ms)
    return hub.visits()


class _Hub:
    """The hub's use cases on the memory store, one store with one edge."""

    def __init__(self, people: int) -> None:
        self.rules = Rules(tenant="default", hmac_key=bytes(range(32)))
        self._store = MemoryStore()
        self._ids = count(1)
        self._seqs = count(1)
        self._who: dict[str, int] = {}
        with self._store.write() as tx:
            tx.put([Shop("default", "s", "Shop", "UTC", "en", "EUR", 1, 0)])
            tx.put([Zone("default", "s", "door", "Door", "door", 1, 0)])
            tx.put([Edge("default", "e", "s", "door", False, "never", "", 0, 1, 0)])
            for who in range(people):
                name = f"p{who}"
                self._who[name] = who
                value = identity_hash(self.rules.hmac_key, BEACON, key_of(who))
                tx.put([Profile("default", name, "active", None, "UTC", "en", 0, 0)])
                tx.put([Identity("default", BEACON, value, name, 40, "bench", 0, None)])
                tx.put([Consent("default", name, Purpose.PRESENCE_DETECTION, True, f"c{who}", 0)])

    def take(self, facts: Sequence[Fact], turn_ms: int) -> None:
        """What the edge sends after one turn, over the wire, committed as one group."""
        batches = []
        for start in range(0, len(facts), BATCH):
            payload = write(self._message(facts[start : start + BATCH], turn_ms))
            batches.append(presence.Batch("s", "e", read_presence(payload), BOOTED_AT_MS + turn_ms))
        if batches:
            with self._store.write() as tx:
                presence.commit_presence(tx, batches, self.rules, BOOTED_AT_MS + turn_ms, self._new_id)

    def sweep(self, turn_ms: int) -> None:
        """What the hub does because time passed."""
        due_ms = self.due_ms()
        if due_ms is not None and due_ms <= turn_ms:
            with self._store.write() as tx:
                deadlines.sweep(tx, self.rules, BOOTED_AT_MS + turn_ms)

    def due_ms(self) -> int | None:
        """When the hub has something to do by itself, on the boot clock."""
        with self._store.read() as tx:
            due_at_ms = tx.earliest(Visit, "deadline_ms")
        return None if due_at_ms is None else due_at_ms - BOOTED_AT_MS

    def visits(self) -> list[Found]:
        """Every visit, on the boot clock."""
        with self._store.read() as tx:
            rows = tx.find(Visit, {"tenant": "default"}, limit=MANY)
        return [
            Found(self._who[row.profile], row.entered_at_ms - BOOTED_AT_MS, row.seen_at_ms - BOOTED_AT_MS)
            for row in rows
        ]

    def _message(self, facts: Sequence[Fact], turn_ms: int) -> Presence:
        return Presence(
            v=1, edge="e", boot="b", oldest_seq=1, sent_mono_ms=turn_ms, sent_at_ms=BOOTED_AT_MS + turn_ms,
            clock=ClockStamp(source="kernel", offset_ms=BOOTED_AT_MS, error_ms=10, synced=True),
            events=[self._event(fact) for fact in facts],
        )  # fmt: skip

    def _event(self, fact: Fact) -> PresenceEvent:
        major, minor = int.from_bytes(fact.key[16:18], "big"), int.from_bytes(fact.key[18:20], "big")
        beacon = BeaconKey(uuid=format_uuid(fact.key[:16]), major=major, minor=minor)
        told = {name: value for name, value in fact._asdict().items() if name != "key"}
        return PresenceEvent(seq=next(self._seqs), beacon=beacon, **told)

    def _new_id(self) -> str:
        return f"id{next(self._ids):08d}"
