"""The judge over numbered events: nothing lost, nothing twice, nothing out of order. Pure; evidence in, verdict out.

`(edge, boot, seq)` names an event for ever. What edges numbered (their files) and what they said (the wire) is compared
with what the hub made of it (its rows) and with what phones and tills hold. A charge is a function that yields a line
per violation; lines name edges, boots, sequences and guests of the simulation.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from simulators.chaos.evidence import BootKey, Evidence, Guest, Row, Said, Told, beacon_name

ACCOUNT_OF = {"member": "committed", "refuser": "consent_refused", "stranger": "identity_refused"}
"""Where the hub must book events of whom."""

ACCOUNTS = ("committed", "consent_refused", "identity_refused", "quarantined", "lost")

PUSHES_PER_VISIT = 1

OPEN = ("issued", "delivered", "viewed", "locked")
"""States of a grant that can be redeemed."""


class Violation(NamedTuple):
    """One broken promise."""

    charge: str
    detail: str


class Event(NamedTuple):
    """A numbered event as the wire first saw it; `who` is a guest's name, None when nobody has that beacon."""

    edge: str
    boot: str
    seq: int
    kind: str
    who: str | None
    body: str

    @property
    def name(self) -> str:
        """As the hub's `trigger` and `opened_by` have it."""
        return f"{self.edge}/{self.boot}/{self.seq}"


@dataclass(slots=True)
class _Case:
    """Evidence with its indexes. `events`: (edge, boot) → first passages, in order; `earlier`: names of events that
    were sent again by a later boot, so that the hub may have taken them as late."""

    evidence: Evidence
    guests: dict[str, Guest]
    events: dict[BootKey, list[Event]] = field(default_factory=lambda: defaultdict(list))
    earlier: set[str] = field(default_factory=set)
    disorder: list[str] = field(default_factory=list)
    visits: dict[str, list[Row]] = field(default_factory=lambda: defaultdict(list))  # guest → rows


def judge(evidence: Evidence) -> list[Violation]:
    """Every charge; an empty list means that every promise was kept."""
    case = _open(evidence)
    return [Violation(name, detail) for name, charge in CHARGES.items() for detail in charge(case)]


def figures(evidence: Evidence) -> dict[str, int]:
    """What happened, in numbers."""
    case = _open(evidence)
    sums = {name: sum(int(row[name]) for row in evidence.accounts.values()) for name in (*ACCOUNTS, "duplicates")}
    passed = sum(len(one.events) for one in evidence.wire if isinstance(one, Said))
    late = sum(visit["opened_by"] in case.earlier for visit in evidence.visits)
    arrived = {str(one["grant"]) for one in evidence.phones}
    return {
        "starts_of_edges": len(evidence.numbered),
        "events_numbered": sum(outbox.published for outbox in evidence.outboxes.values()),
        **sums,
        "events_sent_again": passed - sum(map(len, case.events.values())),
        "acks": sum(isinstance(one, Told) for one in evidence.wire),
        "guests": len(evidence.guests),
        "visits": len(evidence.visits),
        "visits_opened_late": late,
        "grants": len(evidence.grants),
        "pushes_received": len(arrived),
        "pushes_lost_by_broker": sum(row["state"] == "sent" and row["grant"] not in arrived for row in evidence.pushes),
        "redemptions": len(evidence.redemptions),
    }


def _open(evidence: Evidence) -> _Case:
    by_beacon = {guest.beacon: guest.name for guest in evidence.guests}
    case = _Case(evidence, {guest.name: guest for guest in evidence.guests})
    for one in evidence.wire:
        if isinstance(one, Said):
            _hear(case, one, by_beacon)
    by_profile = {guest.profile: guest.name for guest in evidence.guests if guest.profile}
    for visit in evidence.visits:
        case.visits[by_profile.get(visit["profile"], "nobody of ours")].append(visit)
    return case


def _hear(case: _Case, said: Said, by_beacon: dict[str, str]) -> None:
    """Add what is new of a message; note what is out of order or has changed."""
    known = case.events[said.edge, said.boot]
    for raw in said.events:
        seq, reached = int(raw["seq"]), known[-1].seq if known else 0
        event = Event(said.edge, said.boot, seq, str(raw["kind"]), _who(raw, by_beacon), json.dumps(raw))
        if said.earlier:
            case.earlier.add(event.name)
        if seq > reached:
            first = int(raw.get("first_seq", seq))
            if first > reached + 1:
                case.disorder.append(f"{event.name} came after {reached}, {first - reached - 1} were skipped")
            known.append(event)
            continue
        before = known[seq - 1] if seq <= len(known) and known[seq - 1].seq == seq else None
        if before is None:
            before = next((one for one in known if one.seq == seq), None)
        if before is None:
            case.disorder.append(f"{event.name} came only after {reached}")
        elif before.body != event.body and event.kind != "lost":
            case.disorder.append(f"{event.name} was said twice, each time otherwise")


def _who(raw: Row, by_beacon: dict[str, str]) -> str | None:
    beacon: dict[str, Any] | None = raw.get("beacon")
    return by_beacon.get(beacon_name(beacon["uuid"], beacon["major"], beacon["minor"])) if beacon else None


# -- charges -------------------------------------------------------------------------------------------------------


def _readable(case: _Case) -> Iterator[str]:
    for why in case.evidence.unreadable:
        yield f"a message of an edge or the hub cannot be read: {why}"


def _no_false_alarm(case: _Case) -> Iterator[str]:
    """Nobody copied a card and nobody sent nonsense, whatever it may have looked like."""
    for row in case.evidence.edges:
        if row["cloned_at_ms"] is not None:
            yield f"edge {row['edge']} was taken for two devices"
    for row in case.evidence.aside:
        yield f"something of edge {row['edge']} was set aside: {row['reason']}"


def _in_order(case: _Case) -> Iterator[str]:
    yield from case.disorder


def _all_said(case: _Case) -> Iterator[str]:
    """The files of an edge and its wire agree: whatever was numbered was said, and nothing else."""
    evidence = case.evidence
    for key, last in evidence.numbered.items():
        events = case.events.get(key, [])
        said = events[-1].seq if events else 0
        if said != last:
            yield f"edge {key[0]} boot {key[1]} numbered {last} events and said {said}"
    for key in case.events.keys() - evidence.numbered.keys():
        yield f"edge {key[0]} said something of boot {key[1]}, which its files do not know"
    for edge, outbox in evidence.outboxes.items():
        total = sum(last for (name, _), last in evidence.numbered.items() if name == edge)
        if total != outbox.published:
            yield f"edge {edge} counts {outbox.published} events, its boots {total}"
        if outbox.waiting:
            yield f"edge {edge} still holds {outbox.waiting} events"


def _all_accounted(case: _Case) -> Iterator[str]:
    """Each sequence is in exactly one account of the hub."""
    accounts, numbered = case.evidence.accounts, case.evidence.numbered
    for key, last in numbered.items():
        row = accounts.get(key)
        if row is None:
            if last:
                yield f"edge {key[0]} boot {key[1]}: {last} events were numbered, the hub knows nothing of them"
            continue
        total = sum(int(row[name]) for name in ACCOUNTS)
        if row["upto"] != last:
            yield f"edge {key[0]} boot {key[1]}: {last} events were numbered, the hub holds {row['upto']}"
        if total != last:
            yield f"edge {key[0]} boot {key[1]}: {last} events were numbered, {total} stand in the hub's accounts"
    for edge, boot in accounts.keys() - numbered.keys():
        yield f"the hub has accounts of edge {edge} boot {boot}, which no edge ever had"


def _booked_rightly(case: _Case) -> Iterator[str]:
    """Whose event it was says which account it must be in, so that one taken twice for one skipped does not pass."""
    for key, row in case.evidence.accounts.items():
        wanted: Counter[str] = Counter()
        for event in case.events.get(key, []):
            if event.kind == "lost":
                raw = json.loads(event.body)
                wanted["lost"] += int(raw["seq"]) - int(raw["first_seq"]) + 1
            elif event.who is None:
                yield f"{event.name} is of a beacon that was never on the air"
            else:
                wanted[ACCOUNT_OF[case.guests[event.who].who]] += 1
        for name in ACCOUNTS:
            if row[name] != wanted[name]:
                yield f"edge {key[0]} boot {key[1]}: {wanted[name]} events belong under {name}, the hub has {row[name]}"


def _nothing_lost(case: _Case) -> Iterator[str]:
    for row in case.evidence.losses:
        yield f"edge {row['edge']} boot {row['boot']}: {row['first_seq']} to {row['seq']} are lost ({row['reason']})"
    for edge, outbox in case.evidence.outboxes.items():
        if outbox.lost:
            yield f"edge {edge} dropped {outbox.lost} events"


def _acks_hold(case: _Case) -> Iterator[str]:
    """An ack is a promise: only of what was said before it, and never taken back, whoever was killed since."""
    said: dict[BootKey, int] = {}
    for one in case.evidence.wire:
        key = (one.edge, one.boot)
        if isinstance(one, Said):
            said[key] = max([said.get(key, 0), *(int(event["seq"]) for event in one.events)])
            continue
        if one.upto > said.get(key, 0):
            yield f"edge {one.edge} boot {one.boot}: {one.upto} were acknowledged, {said.get(key, 0)} had been said"
        row = case.evidence.accounts.get(key)
        if one.upto > (row["upto"] if row else 0):
            yield f"edge {one.edge} boot {one.boot}: {one.upto} were acknowledged, the hub no longer has them"


def _visits_whole(case: _Case) -> Iterator[str]:
    """Everybody stayed once: one visit each for members who entered, opened by an enter of their own."""
    names = {event.name: event for events in case.events.values() for event in events}
    entered = {event.who for event in names.values() if event.kind == "enter"}
    for guest in case.guests.values():
        visits = case.visits.get(guest.name, [])
        wanted = int(guest.who == "member" and guest.name in entered)
        if len(visits) != wanted:
            yield f"{guest.name} has {len(visits)} visits, {wanted} would be right"
        for visit in visits:
            opening = names.get(visit["opened_by"])
            if opening is None or opening.kind != "enter" or opening.who != guest.name:
                yield f"visit {visit['visit']} of {guest.name} was opened by {visit['opened_by']}, no enter of theirs"
    for visit in case.visits.get("nobody of ours", []):
        yield f"visit {visit['visit']} is nobody's"


def _last_words(case: _Case) -> Iterator[str]:
    """Applied in order, the events of one edge about one guest leave exactly this word in the visit."""
    words: dict[tuple[str, str], str] = {}
    boots = {key: place for place, key in enumerate(case.events)}
    for key in sorted(case.events, key=lambda key: boots[key]):
        for event in case.events[key]:
            if event.who is not None:
                words[event.who, event.edge] = _next_word(words.get((event.who, event.edge)), event.kind)
    for (name, edge), word in words.items():
        for visit in case.visits.get(name, []):
            held = json.loads(visit["edges"]).get(edge, [None])[0]
            # an edge that died, or was silent for long, makes the hub say `unknown` by itself
            right = {"in": ("in", "unknown"), "unknown": ("unknown",), "out": ("out",)}.get(word, (held,))
            if held not in right:
                yield f"visit {visit['visit']} of {name}: edge {edge} last said {word}, the hub has {held}"


def _next_word(word: str | None, kind: str) -> str:
    if kind == "enter" or (kind == "sample" and word in ("in", "unknown")):
        return "in"
    if kind == "exit":
        return "out"
    if kind == "unknown" and word in ("in", "unknown"):
        return "unknown"
    return word or "heard"


def _grants_once(case: _Case) -> Iterator[str]:
    evidence = case.evidence
    per_visit = Counter(row["visit"] for row in evidence.grants)
    for rows in case.visits.values():
        for visit in rows:
            count = per_visit.pop(visit["visit"], 0)
            # an event of an earlier boot opens a visit late, and late events give nobody an offer
            least = 0 if visit["opened_by"] in case.earlier else 1
            if not least <= count <= PUSHES_PER_VISIT:
                yield f"visit {visit['visit']} led to {count} grants"
    for visit_id in per_visit:
        yield f"grants were made for visit {visit_id}, which does not exist"
    decided = Counter(row["grant"] for row in evidence.decisions if row["grant"] is not None)
    pushed = Counter(row["grant"] for row in evidence.pushes)
    for row in evidence.grants:
        if decided[row["grant"]] != 1 or pushed[row["grant"]] != 1:
            yield f"grant {row['grant']} has {decided[row['grant']]} decisions and {pushed[row['grant']]} pushes"
    for grant in (decided.keys() | pushed.keys()) - {row["grant"] for row in evidence.grants}:
        yield f"grant {grant} was decided or pushed but does not exist"


def _decided_once(case: _Case) -> Iterator[str]:
    """Each offer is considered once a visit, and in the order of an edge's events."""
    seen: Counter[tuple[str, str]] = Counter()
    reached: dict[str, int] = {}
    for row in case.evidence.decisions:  # by id, which is by time of commit
        seen.update((row["visit"], candidate[0]) for candidate in json.loads(row["candidates"]))
        source, _, seq = row["trigger"].rpartition("/")[0].rpartition("/")
        if int(seq) < reached.get(source, 0):
            yield f"decision {row['decision']} on {source}/{seq} came after one on {reached[source]}"
        reached[source] = max(int(seq), reached.get(source, 0))
    for (visit, offer), count in seen.items():
        if count > 1:
            yield f"offer {offer} was considered {count} times in visit {visit}"


def _phones_agree(case: _Case) -> Iterator[str]:
    """A phone holds at most one offer of its one visit, its own, and none that the hub does not stand by.

    And none is lost: what can be redeemed is in its owner's wallet, whatever became of the push.
    """
    grants = {row["grant"]: row for row in case.evidence.grants}
    owner = {guest.device: guest for guest in case.guests.values() if guest.device}
    count: Counter[str] = Counter()
    for one in case.evidence.phones:
        guest, grant = owner[one["device"]], grants.get(one["grant"])
        count[guest.name] += 1
        if grant is None:
            yield f"{guest.name} received grant {one['grant']}, which the hub does not know"
        elif grant["profile"] != guest.profile:
            yield f"{guest.name} received grant {one['grant']}, which is somebody else's"
    by_profile = {guest.profile: guest for guest in case.guests.values() if guest.profile}
    for row in case.evidence.grants:
        holder = by_profile.get(row["profile"])
        if row["state"] in OPEN and (holder is None or row["grant"] not in holder.wallet):
            yield f"grant {row['grant']} is open and in nobody's wallet"
    for guest in case.guests.values():
        for grant_id in guest.wallet:
            if grant_id not in grants or grants[grant_id]["profile"] != guest.profile:
                yield f"{guest.name} has grant {grant_id} in their wallet, which is not theirs"
    for name, received in count.items():
        if received > PUSHES_PER_VISIT:
            yield f"{name} received {received} offers in one visit"


def _tills_agree(case: _Case) -> Iterator[str]:
    """What a till was told stands, with the same value, once; what was asked for was done."""
    rows = {row["redemption"]: row for row in case.evidence.redemptions}
    per_grant = Counter(row["grant"] for row in rows.values())
    for grant, count in per_grant.items():
        if count > 1:
            yield f"grant {grant} was redeemed {count} times"
    told: defaultdict[str, set[str]] = defaultdict(set)
    for one in case.evidence.tills:
        told[one["grant"]].add(one["redemption"])
        row = rows.get(one["redemption"])
        if row is None:
            yield f"a till was told of redemption {one['redemption']}, which the hub does not know"
        elif any(row[name] != one[name] for name in ("grant", "value_bp", "discount_minor", "t_lock_ms")):
            yield f"a till was told other terms than redemption {one['redemption']} has"
    for grant, found in told.items():
        if len(found) > 1:
            yield f"tills were told {len(found)} times that grant {grant} is redeemed"
    for guest in case.guests.values():
        for grant in guest.asked:
            if grant not in per_grant or grant not in told:
                yield f"{guest.name} showed grant {grant} to a till, and it was not redeemed"


CHARGES: dict[str, Callable[[_Case], Iterator[str]]] = {
    "every message can be read": _readable,
    "no alarm without a cause": _no_false_alarm,
    "sequences leave an edge in order": _in_order,
    "what was numbered was said": _all_said,
    "every sequence is in one account": _all_accounted,
    "every event is booked rightly": _booked_rightly,
    "nothing is lost": _nothing_lost,
    "an ack holds for ever": _acks_hold,
    "one stay is one visit": _visits_whole,
    "events are applied in order": _last_words,
    "each grant once": _grants_once,
    "each offer is decided once": _decided_once,
    "phones hold what the hub gave": _phones_agree,
    "tills hold what the hub gave": _tills_agree,
}
