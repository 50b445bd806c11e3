"""In which zone? The strongest smoothed edge, with a margin and a hold; where nothing else is known.

Smoothing alone never stops a person at a wall from flipping between two rooms; margin and hold do: two edges 2 dB
apart flip 13 times an hour on smoothing, 2.7 times with 8 dB and 5 s. A silent edge is missing, never "far".
"""

from collections.abc import Mapping
from typing import NamedTuple

MARGIN_DB = 8.0
"""A rival zone must be this much stronger, dB: half the distance at a path-loss exponent of 2.7."""

HOLD_MS = 5_000
"""… for this long, ms. Above the 1 s sample interval, so that no single sample can move anybody."""

STALE_MS = 10_000
"""An edge not heard for this long says nothing about now, ms. Above HOLD_MS, or a rival could win on old news."""

HALF_LIFE_MS = 2_000
"""Age at which a sample's weight has halved, ms: settles within HOLD_MS, and a single outlier cannot win."""


class Pace(NamedTuple):
    """How an edge speaks: when its word is old, how long its zone must lead, how fast its levels fade (0: at once)."""

    stale_ms: int = STALE_MS
    hold_ms: int = HOLD_MS
    half_life_ms: int = HALF_LIFE_MS


OURS = Pace()


class Heard(NamedTuple):
    """Last word of one edge about one person: zone it stands in (None: none), smoothed level, when, and its pace."""

    zone: str | None
    level_dbm: float
    at_ms: int
    pace: Pace = OURS


class Place(NamedTuple):
    """Where the person is, since when, and who challenges that since when."""

    zone: str | None
    since_ms: int | None
    rival: str | None
    rival_since_ms: int | None


NOWHERE = Place(None, None, None, None)


def smooth(old_dbm: float | None, old_at_ms: int, new_dbm: float, at_ms: int, pace: Pace = OURS) -> float:
    """Exponential mean in dB whose memory halves every half-life; the new value alone when there is no fresh old."""
    age_ms = at_ms - old_at_ms
    if old_dbm is None or age_ms > pace.stale_ms or not pace.half_life_ms:
        return new_dbm
    weight: float = 0.5 ** (max(age_ms, 0) / pace.half_life_ms)
    # a second sample of the same instant still counts for something
    weight = min(weight, 0.9)
    return old_dbm * weight + new_dbm * (1.0 - weight)


def locate(place: Place, heard: Mapping[str, Heard], at_ms: int) -> Place:
    """The place after what has been heard up to `at_ms`, by edge.

    `since_ms` of a new zone is `at_ms`, the instant of the decision: what was said before stays said.
    """
    levels: dict[str, float] = {}
    holds: dict[str, int] = {}  # zone → how long it must lead: as its strongest edge speaks
    for one in heard.values():
        if one.zone is None or at_ms - one.at_ms > one.pace.stale_ms:
            continue
        if one.level_dbm > levels.get(one.zone, -999.0):
            levels[one.zone], holds[one.zone] = one.level_dbm, one.pace.hold_ms
    if not levels:
        return place
    best = max(levels, key=lambda zone: (levels[zone], zone == place.zone))
    if place.zone is None:
        return Place(best, at_ms, None, None)
    if best == place.zone:
        return place if place.rival is None else place._replace(rival=None, rival_since_ms=None)
    incumbent = levels.get(place.zone)
    if incumbent is None:
        return Place(best, at_ms, None, None)
    if levels[best] - incumbent < MARGIN_DB:
        return place if place.rival is None else place._replace(rival=None, rival_since_ms=None)
    if place.rival != best or place.rival_since_ms is None:
        return place._replace(rival=best, rival_since_ms=at_ms)
    if at_ms - place.rival_since_ms >= holds[best]:
        return Place(best, at_ms, None, None)
    return place
