"""What the edges report: people who visit a store after another, as presence messages of the wire.

One visit, in seconds after the door let the person in. Every edge that hears somebody reports `enter`, 18 samples and
an `exit`, which it is sure of 30 s after it last heard them:

      0 … 18   door          48  door: exit
     30 … 48   floor         78  floor: exit
     60 … 78   shelf        108  shelf: exit
     90 … 108  till         138  till: exit
         146   the next visit begins, in the next store

So 10 % of the events are enters and exits and 90 % samples. The 12 s between two zones outlast the hub's memory of a
silent edge (10 s): the zone changes with the enter, whatever the levels. The 38 s between the last sighting and the
next visit outlast the grace that the benchmark's hub is given (`GRACE_S`).
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

from bench.crowd import STORES, ZONES, Person, edge_name
from bench.publisher import Out
from wire import messages, topics
from wire.messages import ClockStamp, Presence, PresenceEvent

STINT_S = 18
ZONE_EVERY_S = 30
EXIT_SILENCE_S = 30
CYCLE_S = 146
GRACE_S = 20
EVENTS_PER_VISIT = len(ZONES) * (STINT_S + 2)
"""80: at four edges, an enter, 18 samples and an exit each."""

_LEVEL_DBM = {"door": -55.0, "floor": -60.0, "shelf": -62.0, "till": -58.0}


class Report(NamedTuple):
    """One event as an edge reports it at `at_ms`, seen at `observed_ms` (an exit was last heard earlier)."""

    at_ms: int
    store: str
    zone: str
    person: Person
    kind: Literal["enter", "sample", "exit"]
    observed_ms: int


def store_of(person: Person, visit: int) -> str:
    """Where a person's `visit` (0, 1, …) goes."""
    return STORES[(person.number + visit) % len(STORES)]


def length_s(visits: int) -> int:
    """How long the traffic of people with so many visits lasts, s."""
    return CYCLE_S * (visits + 1)


def reports(people: Sequence[Person], visits: int, start_ms: int) -> list[Report]:
    """Every report of everybody, in order of time; their first visits begin spread over one cycle."""
    found = []
    for place, one in enumerate(people):
        phase_ms = start_ms + CYCLE_S * 1000 * place // len(people)
        for visit in range(visits):
            begin_ms = phase_ms + visit * CYCLE_S * 1000
            store = store_of(one, visit)
            for stop, zone in enumerate(ZONES):
                found += _stint(store, zone, one, begin_ms + stop * ZONE_EVERY_S * 1000)
    found.sort(key=lambda report: report.at_ms)
    return found


def _stint(store: str, zone: str, person: Person, begin_ms: int) -> list[Report]:
    times = [begin_ms + second * 1000 for second in range(STINT_S + 1)]
    last_ms = times[-1]
    heard = [Report(at, store, zone, person, "enter" if at == begin_ms else "sample", at) for at in times]
    return [*heard, Report(last_ms + EXIT_SILENCE_S * 1000, store, zone, person, "exit", last_ms)]


def batches(found: Sequence[Report], boot: str, per_message: int, booted_ms: int) -> list[Out]:
    """The reports as presence messages of `per_message` events, in the order in which their edges would send them."""
    waiting: dict[tuple[str, str], list[PresenceEvent]] = {}
    seqs: dict[tuple[str, str], int] = {}
    out: list[Out] = []
    for report in found:
        edge = (report.store, report.zone)
        seqs[edge] = seqs.get(edge, 0) + 1
        queue = waiting.setdefault(edge, [])
        queue.append(_event(report, seqs[edge], booted_ms))
        if len(queue) >= per_message:
            out.append(_message(*edge, boot, waiting.pop(edge), report.at_ms, booted_ms))
    end_ms = found[-1].at_ms if found else booted_ms
    out += [_message(*edge, boot, queue, end_ms, booted_ms) for edge, queue in waiting.items()]
    return out


def live(report: Report, seq: int, boot: str, booted_ms: int) -> Out:
    """One report as a message of its own, now."""
    return _message(report.store, report.zone, boot, [_event(report, seq, booted_ms)], report.at_ms, booted_ms)


def last_seqs(found: Sequence[Report]) -> dict[str, int]:
    """How many reports each edge makes: its last sequence number."""
    counts: dict[str, int] = {}
    for report in found:
        edge = edge_name(report.store, report.zone)
        counts[edge] = counts.get(edge, 0) + 1
    return counts


def _event(report: Report, seq: int, booted_ms: int) -> PresenceEvent:
    observed_mono_ms = report.observed_ms - booted_ms
    sample = report.kind == "sample"
    return PresenceEvent(
        seq=seq,
        kind=report.kind,
        beacon=report.person.beacon,
        observed_mono_ms=observed_mono_ms,
        first_mono_ms=observed_mono_ms - (900 if sample else 0),
        last_mono_ms=observed_mono_ms,
        rssi_dbm=_LEVEL_DBM[report.zone] + (seq * 7 + report.person.number) % 5,
        sd_db=round(1.1 + seq % 9 / 10, 1),
        n=9 if sample else 1,
        span_ms=900 if sample else 0,
    )


def _message(store: str, zone: str, boot: str, events: list[PresenceEvent], sent_ms: int, booted_ms: int) -> Out:
    edge = edge_name(store, zone)
    message = Presence(
        v=1,
        edge=edge,
        boot=boot,
        oldest_seq=events[0].seq,
        sent_mono_ms=sent_ms - booted_ms,
        sent_at_ms=sent_ms,
        clock=ClockStamp(source="chrony", offset_ms=booted_ms, error_ms=5, synced=True),
        events=events,
    )
    return Out(topics.edge_topic(store, edge, "presence"), messages.write(message))
