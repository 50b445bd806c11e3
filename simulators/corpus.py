"""The hard presence corpus: who really was inside, and what one scanner heard of it. Pure and seeded, in virtual time.

A day at one scanner: visits of people whose phone advertises about once a second, with drop-outs of the radio inside
the visits, and the same people walking past the shop window, heard weakly and briefly. A good presence system makes of
it one visit for each visit and nothing of a walk-by. `Law` states every parameter; docs/bench.md explains the choice.
"""

import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple

STRONGEST_DBM = -20
"""No receiver reports more, dBm."""


@dataclass(frozen=True, slots=True)
class Law:
    """Parameters of the corpus. Ranges are (least, most); `_db` deviations are of normal distributions."""

    people: int = 150
    visits: int = 232  # dealt out in turn: everybody gets one before anybody gets a second
    walkbys: int = 439
    span_s: float = 10_800.0  # all of it happens within this
    apart_s: float = 300.0  # between two stays of one person: well above any grace, or two visits would be one
    visit_s: tuple[float, float] = (180.0, 1_500.0)  # log-uniform
    walkby_s: tuple[float, float] = (8.0, 20.0)  # uniform
    dropout_s: tuple[float, float] = (15.0, 45.0)  # uniform
    dropout_every_s: float = 240.0  # one drop-out for each begun span of this length
    dropout_apart_s: float = 30.0  # between drop-outs, and to either end of the visit
    advert_s: tuple[float, float] = (0.7, 1.4)  # interval of one phone or tag; about 1 s
    advert_delay_s: float = 0.010  # added to each interval, uniform from 0: Bluetooth Core, vol 6 part B 4.4.2.2
    inside_dbm: float = -68.0  # mean over visits of a visit's level
    inside_sd_db: float = 4.0
    slow_sd_db: float = 5.0  # of the level within a visit, as people walk about and turn
    slow_s: float = 10.0  # memory of that
    door_s: float = 6.0  # coming in and going out
    door_db: float = 14.0  # weaker at the threshold than inside
    walkby_dbm: float = -84.0  # the level of a walk-by is never above this, whatever varies
    walkby_below_db: float = 4.0  # mean of how far below that its nearest point lies: exponential
    walkby_ends_db: float = 8.0  # weaker half a walk-by away from the nearest point, which may lie anywhere in it
    walkby_slow_sd_db: float = 2.0
    fading_db: float = 4.0  # each advertisement for itself
    loss_good: float = 0.15
    loss_bad: float = 0.70
    good_to_bad: float = 0.05  # per advertisement
    bad_to_good: float = 0.25
    floor_dbm: float = -100.0  # weaker is not heard


class Stay(NamedTuple):
    """Somebody was near from `from_ms` to `to_ms`: a visit, a walk-by, or, within a visit, a drop-out of the radio."""

    who: int
    from_ms: int
    to_ms: int


class Advert(NamedTuple):
    """One advertisement as it was heard."""

    at_ms: int
    who: int
    rssi_dbm: int


@dataclass(frozen=True, slots=True)
class Corpus:
    """The truth, and what was heard; everything in order of time. `who` is 0 … people − 1."""

    law: Law
    seed: int
    visits: tuple[Stay, ...]
    walkbys: tuple[Stay, ...]
    dropouts: tuple[Stay, ...]
    adverts: tuple[Advert, ...]


def make_corpus(seed: int, law: Law | None = None) -> Corpus:
    """The corpus of this seed; the same for the same seed and law, on every machine with the same Python.

    Raises:
        ValueError: the stays of one person do not fit into the span.
    """
    law = law or Law()
    dice = random.Random(seed)
    visits: list[Stay] = []
    walkbys: list[Stay] = []
    dropouts: list[Stay] = []
    adverts: list[Advert] = []
    for who in range(law.people):
        interval_s = dice.uniform(*law.advert_s)
        for stay, is_visit in _place(law, who, dice):
            if is_visit:
                silent = _drop_out(law, stay, dice)
                source = _Source(stay, interval_s, _inside_dbm(law, stay, dice), law.slow_sd_db, STRONGEST_DBM, silent)
                visits.append(stay)
                dropouts.extend(silent)
            else:
                source = _Source(stay, interval_s, _outside_dbm(law, stay, dice), law.walkby_slow_sd_db, law.walkby_dbm)
                walkbys.append(stay)
            adverts.extend(_hear(law, source, dice))

    def in_time(stays: list[Stay]) -> tuple[Stay, ...]:
        return tuple(sorted(stays, key=lambda stay: (stay.from_ms, stay.who)))

    return Corpus(law, seed, in_time(visits), in_time(walkbys), in_time(dropouts), tuple(sorted(adverts)))


def _place(law: Law, who: int, dice: random.Random) -> list[tuple[Stay, bool]]:
    """The stays of one person in random order; True: a visit."""
    shortest_s, longest_s = law.visit_s
    lengths = [
        (shortest_s * (longest_s / shortest_s) ** dice.random(), True) for _ in range(_share(law.visits, law, who))
    ]
    lengths += [(dice.uniform(*law.walkby_s), False) for _ in range(_share(law.walkbys, law, who))]
    dice.shuffle(lengths)
    starts_s = _lay_out([length_s for length_s, _ in lengths], law.span_s, law.apart_s, dice)
    if starts_s is None:
        raise ValueError(f"{len(lengths)} stays of one person do not fit into {law.span_s:.0f} s: widen span_s")
    return [
        (Stay(who, round(start_s * 1000), round((start_s + length_s) * 1000)), is_visit)
        for start_s, (length_s, is_visit) in zip(starts_s, lengths, strict=True)
    ]


def _share(total: int, law: Law, who: int) -> int:
    """How many of `total` things the person gets when they are dealt out in turn."""
    return total // law.people + (who < total % law.people)


def _drop_out(law: Law, visit: Stay, dice: random.Random) -> list[Stay]:
    """Drop-outs of one visit: one for each begun `dropout_every_s`, as many as fit."""
    length_s = (visit.to_ms - visit.from_ms) / 1000
    lengths = [dice.uniform(*law.dropout_s) for _ in range(math.ceil(length_s / law.dropout_every_s))]
    inner_s = length_s - 2 * law.dropout_apart_s
    while (starts_s := _lay_out(lengths, inner_s, law.dropout_apart_s, dice)) is None:
        lengths.pop()
    first_ms = visit.from_ms + law.dropout_apart_s * 1000
    return [
        Stay(visit.who, round(first_ms + start_s * 1000), round(first_ms + (start_s + length_s) * 1000))
        for start_s, length_s in zip(starts_s, lengths, strict=True)
    ]


def _lay_out(lengths_s: Sequence[float], span_s: float, apart_s: float, dice: random.Random) -> list[float] | None:
    """Starts of things of these lengths, in this order and uniformly placed in `span_s`; None: they do not fit."""
    spare_s = span_s - sum(lengths_s) - apart_s * (len(lengths_s) - 1)
    if lengths_s and spare_s < 0:
        return None
    pauses_s = sorted(dice.uniform(0, spare_s) for _ in lengths_s)  # before each, all earlier ones included
    before_s = [0.0, *accumulate(length_s + apart_s for length_s in lengths_s)]
    return [pause_s + lead_s for pause_s, lead_s in zip(pauses_s, before_s, strict=False)]


def _inside_dbm(law: Law, visit: Stay, dice: random.Random) -> Callable[[int], float]:
    """Level over time of one visit, without what varies: its own level, weaker at the threshold."""
    own_dbm = dice.gauss(law.inside_dbm, law.inside_sd_db)

    def level_dbm(at_ms: int) -> float:
        from_door_s = min(at_ms - visit.from_ms, visit.to_ms - at_ms) / 1000
        return own_dbm - law.door_db * max(0.0, 1 - from_door_s / law.door_s)

    return level_dbm


def _outside_dbm(law: Law, walkby: Stay, dice: random.Random) -> Callable[[int], float]:
    """The same of one walk-by: falling off on both sides of its nearest point."""
    nearest_dbm = law.walkby_dbm - dice.expovariate(1 / law.walkby_below_db)
    nearest_ms = dice.uniform(walkby.from_ms, walkby.to_ms)  # not always the middle: people come round corners
    half_ms = (walkby.to_ms - walkby.from_ms) / 2

    def level_dbm(at_ms: int) -> float:
        away = (at_ms - nearest_ms) / half_ms
        return nearest_dbm - law.walkby_ends_db * away * away

    return level_dbm


@dataclass(frozen=True, slots=True)
class _Source:
    """One stay as the air sees it: `level_dbm` of an instant, varying slowly but never above `most_dbm`; drop-outs."""

    stay: Stay
    interval_s: float
    level_dbm: Callable[[int], float]
    slow_sd_db: float
    most_dbm: float
    dropouts: Sequence[Stay] = ()


def _hear(law: Law, source: _Source, dice: random.Random) -> Iterator[Advert]:
    """What arrives of a stay: slow variation (Gauss-Markov), fading, loss in bursts (Gilbert-Elliott)."""
    who, from_ms, to_ms = source.stay
    at_s = before_s = from_ms / 1000 + dice.random() * source.interval_s
    slow_db, bad = dice.gauss(0, source.slow_sd_db), False
    while at_s * 1000 <= to_ms:
        keep = math.exp((before_s - at_s) / law.slow_s)
        slow_db = keep * slow_db + math.sqrt(1 - keep * keep) * dice.gauss(0, source.slow_sd_db)
        bad = dice.random() >= law.bad_to_good if bad else dice.random() < law.good_to_bad
        lost = dice.random() < (law.loss_bad if bad else law.loss_good)
        at_ms = round(at_s * 1000)
        level_dbm = min(source.level_dbm(at_ms) + slow_db, source.most_dbm)
        rssi_dbm = min(round(level_dbm + dice.gauss(0, law.fading_db)), STRONGEST_DBM)
        silent = any(gap.from_ms <= at_ms <= gap.to_ms for gap in source.dropouts)
        if not lost and not silent and rssi_dbm >= law.floor_dbm:
            yield Advert(at_ms, who, rssi_dbm)
        before_s = at_s
        at_s += source.interval_s + dice.random() * law.advert_delay_s
