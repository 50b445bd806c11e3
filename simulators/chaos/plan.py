"""Seed → what is done to whom, round by round. Pure: the same seed makes the same choices, whatever the machine does.

What cannot be repeated is the instant at which a blow meets a program; so blows are aimed at the traffic (after so many
messages), not at the clock alone.
"""

import random
from dataclasses import dataclass
from typing import NamedTuple

KILL, PAUSE, STUMBLE = "kill", "pause", "stumble"
"""kill -9 and start again; SIGSTOP and SIGCONT; kill, start, and kill again while it starts."""

AFTER_MAX = 20
DELAY_MS = (0, 15)
"""Messages on the wire between the start of a round and the blow, at most: a quarter second of traffic; and the time
between the last of them and the blow, ms: as long as the hub takes to commit it and to answer."""

DOWN_MS = (0, 400)
PAUSED_MS = (20, 1_500)
STUMBLE_MS = (20, 900)
"""How long a program is down, stopped, or given before it is killed again, ms. A hub starts within 800 ms."""

STAY_ROUNDS = (4, 10)
"""How many rounds a guest stays."""

RESIDENT = "resident"
"""A tag that is always heard, so that there is traffic to aim at and to show life by in every round."""

TWO_VICTIMS, NO_REST = 0.2, 0.3
"""Shares of rounds that hit two programs at once, and that do not wait for a sign of life before the next."""


class Blow(NamedTuple):
    """`what` is done to `victim` for `for_ms`."""

    what: str
    victim: str
    for_ms: int

    def __str__(self) -> str:
        return f"{self.what} {self.victim} for {self.for_ms} ms"


class Arrival(NamedTuple):
    """A guest comes. `redeems`: shows the offer to a till; `twice`: to two tills at the same time."""

    name: str
    who: str
    near: str
    redeems: bool
    twice: bool


@dataclass(frozen=True, slots=True)
class Round:
    """One round: who comes, goes (by name) and moves (name → edge), then blows `after` so many messages and a delay."""

    number: int
    come: tuple[Arrival, ...]
    go: tuple[str, ...]
    move: tuple[tuple[str, str], ...]
    after: int
    delay_ms: int
    blows: tuple[Blow, ...]
    rest: bool

    def __str__(self) -> str:
        return ", ".join(map(str, self.blows)) + f", {self.delay_ms} ms after {self.after} messages"


def make_plan(seed: int, rounds: int, edges: tuple[str, ...]) -> list[Round]:
    """`rounds` rounds against a hub, a broker and these edges."""
    dice = random.Random(f"plan {seed}")
    leaves: dict[str, int] = {}  # name → round; not of the resident, who never does
    found = []
    for number in range(1, rounds + 1):
        go = tuple(name for name, at in leaves.items() if at == number)
        for name in go:
            del leaves[name]
        come = tuple(_arrivals(dice, number, edges))
        move = tuple((name, dice.choice(edges)) for name in leaves if dice.random() < 0.3)
        for one in come:
            if one.name != RESIDENT:
                leaves[one.name] = number + dice.randint(*STAY_ROUNDS)
        found.append(
            Round(
                number=number,
                come=come,
                go=go,
                move=move,
                after=dice.randint(1, AFTER_MAX),
                delay_ms=dice.randint(*DELAY_MS),
                blows=_blows(dice, edges),
                rest=dice.random() >= NO_REST,
            )
        )
    return found


def _arrivals(dice: random.Random, number: int, edges: tuple[str, ...]) -> list[Arrival]:
    kinds = [who for who, share in (("member", 0.8), ("refuser", 0.1), ("stranger", 0.1)) if dice.random() < share]
    found = [
        Arrival(f"{who}-{number}-{place}", who, dice.choice(edges), dice.random() < 0.6, dice.random() < 0.4)
        for place, who in enumerate(kinds if number > 1 else ["member", "refuser", "member"])
    ]
    return found if number > 1 else [*found, Arrival(RESIDENT, "stranger", edges[0], False, False)]


def _blows(dice: random.Random, edges: tuple[str, ...]) -> tuple[Blow, ...]:
    victims = ["hub", "broker", *edges]
    count = 2 if dice.random() < TWO_VICTIMS else 1
    return tuple(_blow(dice, victim) for victim in dice.sample(victims, count))


def _blow(dice: random.Random, victim: str) -> Blow:
    what = dice.choices((KILL, PAUSE, STUMBLE), (6, 3, 1))[0]
    low, high = {KILL: DOWN_MS, PAUSE: PAUSED_MS, STUMBLE: STUMBLE_MS}[what]
    return Blow(what, victim, dice.randint(low, high))
