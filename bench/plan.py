"""What must come out, worked out from the schedule of `bench/traffic.py` and the offers alone: no code of the hub.

Of a consenting person's visit:

     0 s  comes to the store and to its door      welcome; in two stores also door
    30 s  comes to the floor; 30 s in the store   floor and stay
    40 s  10 s on the floor                       browse

Each moment is one decision. Of its offers the first in order of priority is granted that the person has not had, if
this visit has brought no other; the rest are refused, with the reason.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.crowd import DOOR_OFFER_STORES, Person
from bench.traffic import EVENTS_PER_VISIT, store_of
from wire.errors import BrokenInvariant

Candidates = tuple[tuple[str, str | None], ...]
"""Offers considered and the reason against each (None: granted), by name of the offer."""


@dataclass(slots=True)
class Found:
    """Decisions as (profile, store, candidates), grants as (profile, offer), and the number of events refused."""

    decisions: Counter[tuple[str, str, Candidates]] = field(default_factory=Counter)
    grants: Counter[tuple[str, str]] = field(default_factory=Counter)
    refused: int = 0

    def decide(self, profile: str, store: str, candidates: Iterable[Sequence[Any]]) -> None:
        """Add a decision: `candidates` are (offer, reason)."""
        ordered: Candidates = tuple(sorted((str(offer), reason) for offer, reason in candidates))
        self.decisions[profile, store, ordered] += 1


def moments(store: str) -> tuple[tuple[str, ...], ...]:
    """The offers of each decision in a visit to `store`, highest priority first."""
    door = ("door",) if store in DOOR_OFFER_STORES else ()
    return (("welcome", *door), ("floor", "stay"), ("browse",))


def plan(people: Sequence[Person], visits: int) -> Found:
    """What `visits` visits of each of these people must lead to, if none of them ever had an offer before."""
    expected = Found()
    for one in people:
        if not one.consenting:
            expected.refused += visits * EVENTS_PER_VISIT
            continue
        had: set[str] = set()
        for visit in range(visits):
            store = store_of(one, visit)
            pushed = False
            for offers in moments(store):
                free = None if pushed else next((offer for offer in offers if offer not in had), None)
                expected.decide(one.profile, store, [(offer, _reason(offer, free, pushed, had)) for offer in offers])
                if free is not None:
                    expected.grants[one.profile, free] += 1
                    had.add(free)
                    pushed = True
    return expected


def _reason(offer: str, chosen: str | None, pushed: bool, had: set[str]) -> str | None:
    if offer == chosen:
        return None
    if pushed:
        return "cap:visit"
    return "cooldown" if offer in had else "rank"


def check(expected: Found, found: Found, who: str) -> None:
    """Compare.

    Raises:
        BrokenInvariant: they differ; the text says in what and by how much.
    """
    faults = [
        *_difference("decisions", expected.decisions, found.decisions),
        *_difference("grants", expected.grants, found.grants),
    ]
    if expected.refused != found.refused:
        faults.append(f"{found.refused} events refused instead of {expected.refused}")
    if faults:
        raise BrokenInvariant(f"{who} did not do what was planned: {'; '.join(faults)}")


def _difference(what: str, expected: Counter[Any], found: Counter[Any]) -> list[str]:
    missing, extra = expected - found, found - expected
    if not missing and not extra:
        return []
    example = next(iter(missing or extra))
    return [
        f"{what}: {missing.total()} of {expected.total()} missing and {extra.total()} not expected, "
        f"e.g. {'missing' if missing else 'extra'} {example[1:]}"
    ]
