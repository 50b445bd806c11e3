"""The air: where a transmitter and a receiver are → whether an advertisement arrives, and how strong. Seeded.

Log-distance path loss; shadowing that is correlated over a few metres of walking (Gudmundson); small-scale fading per
advertisement; loss in bursts (Gilbert-Elliott), because bodies turn and channels collide.
"""

import math
import random
from dataclasses import dataclass, field

from simulators.floorplan import FloorPlan, Point, RadioPlan

NEAREST_M = 0.3
"""Closer than this nothing gets stronger, m: antennas have a size."""

STRONGEST_DBM = -20
"""No receiver reports more, dBm."""


@dataclass(slots=True)
class _Link:
    """What is remembered of one transmitter at one receiver."""

    shadow_db: float
    at: Point
    bad: bool = False


@dataclass(slots=True)
class Air:
    """Signals between people and edges of one plan."""

    plan: FloorPlan
    dice: random.Random
    links: dict[tuple[str, str], _Link] = field(default_factory=dict)

    def receive(self, sender: str, at: Point, edge: str, edge_at: Point) -> float | None:
        """RSSI in dBm, rounded, of one advertisement sent at `at`; None when it was not heard."""
        radio = self.plan.radio
        link = self._link(sender, edge, at)
        link.bad = self._next_bad(link.bad, radio)
        if self.dice.random() < (radio.loss_bad if link.bad else radio.loss_good):
            return None
        distance_m = max(math.dist(at, edge_at), NEAREST_M)
        level = radio.power_dbm - 10 * radio.exponent * math.log10(distance_m)
        level -= sum(wall.loss_db for wall in self.plan.wall if _crosses(at, edge_at, wall.line))
        level += link.shadow_db + self.dice.gauss(0, radio.fading_db)
        if level < radio.noise_floor_dbm:
            return None
        return float(min(round(level), STRONGEST_DBM))

    def _link(self, sender: str, edge: str, at: Point) -> _Link:
        radio = self.plan.radio
        link = self.links.get((sender, edge))
        if link is None:
            link = self.links[sender, edge] = _Link(self.dice.gauss(0, radio.shadowing_db), at)
            return link
        moved_m = math.dist(link.at, at)
        if moved_m > 0:
            keep = math.exp(-moved_m / radio.decorrelation_m)
            fresh = self.dice.gauss(0, radio.shadowing_db)
            link.shadow_db = keep * link.shadow_db + math.sqrt(1 - keep * keep) * fresh
            link.at = at
        return link

    def _next_bad(self, bad: bool, radio: RadioPlan) -> bool:
        if bad:
            return self.dice.random() >= radio.bad_to_good
        return self.dice.random() < radio.good_to_bad


def _crosses(a: Point, b: Point, line: tuple[float, float, float, float]) -> bool:
    c, d = (line[0], line[1]), (line[2], line[3])
    return _side(a, b, c) != _side(a, b, d) and _side(c, d, a) != _side(c, d, b)


def _side(a: Point, b: Point, c: Point) -> bool:
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]) > 0
